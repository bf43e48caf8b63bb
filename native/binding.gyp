{
  # librdkafka is the one that node-rdkafka has compiled; scripts/build-native.js names its folders.
  "variables": { "asan%": 0 },
  "targets": [
    {
      "target_name": "harrier-kafka",
      "sources": ["addon.cc"],
      "include_dirs": ["<(rdkafka_include)"],
      "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-cast-function-type"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
      "xcode_settings": { "GCC_ENABLE_CPP_EXCEPTIONS": "YES", "CLANG_CXX_LANGUAGE_STANDARD": "c++17", "MACOSX_DEPLOYMENT_TARGET": "10.15" },
      "conditions": [
        ["OS=='mac'", { "libraries": ["<(rdkafka_lib)/librdkafka.dylib", "-Wl,-rpath,<(rdkafka_lib)"] }],
        ["OS!='mac'", { "libraries": ["<(rdkafka_lib)/librdkafka.so", "-Wl,-rpath,'$$ORIGIN/<(rdkafka_from_here)'"] }],
        ["asan==1", { "cflags_cc": ["-fsanitize=address", "-fno-omit-frame-pointer", "-O1", "-g"], "ldflags": ["-fsanitize=address"] }]
      ]
    }
  ]
}

import { existsSync, readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { findSharedLibrary } from '../inference/device-libraries.js'
import { findProgram, runProgram } from './programs.js'

export interface VulkanDevice {
  /** As its driver calls it. */
  readonly name: string
  readonly kind: 'other' | 'integrated GPU' | 'discrete GPU' | 'virtual GPU' | 'software'
}

const kinds: readonly VulkanDevice['kind'][] = ['other', 'integrated GPU', 'discrete GPU', 'virtual GPU', 'software']
/** Drivers may take seconds to wake a GPU. */
const listMsMax = 20_000

/**
 * Node has no way to call a C library, Python has: an instance, its physical devices, and of each the type and the name, which lie
 * at bytes 16 and 20 of VkPhysicalDeviceProperties.
 */
const script = `
import ctypes, json, sys
vk = ctypes.CDLL(sys.argv[1])
info = (ctypes.c_char * 64)()
ctypes.memmove(info, ctypes.byref(ctypes.c_uint32(1)), 4)
instance = ctypes.c_void_p()
if vk.vkCreateInstance(ctypes.byref(info), None, ctypes.byref(instance)): sys.exit(1)
count = ctypes.c_uint32()
vk.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
devices = (ctypes.c_void_p * count.value)()
vk.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
found = []
for device in devices:
    properties = (ctypes.c_char * 4096)()
    vk.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), ctypes.byref(properties))
    raw = bytes(properties)
    found.append([int.from_bytes(raw[16:20], sys.byteorder), raw[20:276].split(b'\\0')[0].decode()])
print(json.dumps(found))
`

/** What the Vulkan drivers of this machine offer; null when that cannot be told: no loader, no Python, or no driver that answers. */
export async function listVulkanDevices(): Promise<VulkanDevice[] | null> {
  const loader = findSharedLibrary('libvulkan.so.1')
  const python = findProgram('python3')
  if (!loader || !python) return null
  const { code, stdout } = await runProgram(python, ['-c', script, loader], { limitMs: listMsMax })
  if (code !== 0) return null
  return (JSON.parse(stdout) as [number, string][]).map(([type, name]) => ({ name, kind: kinds[type] ?? 'other' }))
}

/** Files that name Vulkan drivers, as the loader looks for them. */
export function vulkanDriverFiles(env: NodeJS.ProcessEnv = process.env): string[] {
  const named = env.VK_DRIVER_FILES ?? env.VK_ICD_FILENAMES
  if (named) return named.split(delimiter).filter((file) => existsSync(file))
  const data = [env.XDG_DATA_HOME ?? join(homedir(), '.local', 'share'), ...(env.XDG_DATA_DIRS ?? '/usr/local/share:/usr/share').split(delimiter)]
  return ['/etc', ...data].flatMap((folder) => {
    const drivers = join(folder, 'vulkan', 'icd.d')
    return existsSync(drivers) ? readdirSync(drivers).filter((file) => file.endsWith('.json')).map((file) => join(drivers, file)) : []
  })
}

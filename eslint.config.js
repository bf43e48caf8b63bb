import importX, { createNodeResolver } from 'eslint-plugin-import-x'
import tseslint from 'typescript-eslint'

/** Only src/base/clock.ts and src/base/prng.ts touch real time and randomness: everything else takes a `Clock` or a seed. */
const realTime = [
  { object: 'Date', property: 'now', message: 'take a Clock (src/base/clock.ts)' },
  { object: 'performance', property: 'now', message: 'take a Clock (src/base/clock.ts)' },
  { object: 'process', property: 'hrtime', message: 'take a Clock (src/base/clock.ts)' },
  { object: 'Math', property: 'random', message: 'take a seed and use Prng (src/base/prng.ts)' },
]
const mathPow = { object: 'Math', property: 'pow', message: 'its bits differ between versions of Node: multiply' }
const timers = ['setTimeout', 'setInterval'].map((name) => ({ name, message: 'use Clock.sleep or Clock.every (src/base/clock.ts)' }))
const newDate = { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: 'take a Clock (src/base/clock.ts)' }
const power = { selector: 'BinaryExpression[operator="**"]', message: 'its bits differ between versions of Node: multiply' }

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'training/'] },
  {
    files: ['src/**/*.ts', 'test/**/*.ts', 'bench/**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'import-x': importX },
    settings: {
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
      'import-x/resolver-next': [createNodeResolver({ extensions: ['.ts', '.js'], extensionAlias: { '.js': ['.ts', '.js'] } })],
    },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['describe', 'it', 'test', 'suite'] }] }],
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { arguments: false } }],
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/only-throw-error': ['error', { allowRethrowing: true, allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-for-in-array': 'error',
      '@typescript-eslint/restrict-plus-operands': 'error',
      eqeqeq: ['error', 'always'],
      'no-var': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      '@typescript-eslint/no-implied-eval': 'error',
      'no-restricted-properties': ['error', ...realTime],
      'no-restricted-globals': ['error', ...timers],
      'no-restricted-syntax': ['error', newDate],
    },
  },
  { files: ['src/base/clock.ts', 'src/base/prng.ts'], rules: { 'no-restricted-properties': 'off', 'no-restricted-globals': 'off', 'no-restricted-syntax': 'off' } },
  { files: ['src/features/**/*.ts'], rules: { 'no-restricted-properties': ['error', ...realTime, mathPow], 'no-restricted-syntax': ['error', newDate, power] } },
  { files: ['test/**/*.ts'], linterOptions: { reportUnusedDisableDirectives: 'off' } },
  // For src/cli/view: a control character in a regular expression there is said to be meant.
  { files: ['src/cli/**/*.ts'], rules: { 'no-control-regex': 'error' } },
  // Import cycles: one rule that walks the whole graph, for src only.
  { files: ['src/**/*.ts'], rules: { 'import-x/no-cycle': ['error', { ignoreExternal: true }], 'import-x/no-self-import': 'error' } },
  { files: ['scripts/**/*.js', 'bin/**/*.js', 'page/**/*.js'], linterOptions: { reportUnusedDisableDirectives: 'error' }, rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error', 'no-unused-vars': ['error', { varsIgnorePattern: '^_' }] } },
)

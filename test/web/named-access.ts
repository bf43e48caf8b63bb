import type { AccessControl } from '../../src/access/access-control.js'
import type { Principal } from '../../src/access/key-record.js'
import { HarrierError } from '../../src/base/errors.js'

/** Rights by the name of a key that stands for itself: for tests of what rights allow, not of how keys are checked. */
export function namedAccess(principals: Readonly<Record<string, Pick<Principal, 'role'> & Partial<Principal>>>): AccessControl {
  const access: Pick<AccessControl, 'authenticate' | 'enter'> = {
    authenticate(credential) {
      const found = principals[credential ?? '']
      if (!found) return Promise.reject(new HarrierError('UNAUTHENTICATED', 'no such key'))
      return Promise.resolve({ id: `key ${credential}`, name: credential!, models: null, topologies: null, quota: {}, ...found })
    },
    enter: () => ({ state: undefined, release: () => undefined }),
  }
  return access as AccessControl
}

export type Device = 'cpu' | 'webgpu' | 'cuda'
export type DevicePolicy = Device | 'auto'

export interface DeviceInUse {
  /** The device that really runs the model. */
  readonly device: Device
  /** Why it is not the wanted one; null when it is. */
  readonly deviceNote: string | null
}

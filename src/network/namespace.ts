/** `--net`: a namespace of the pod's own with nothing but loopback, or the host's. */
export type NetworkMode = 'none' | 'host';

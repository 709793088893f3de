import type { Directories } from '../config/directories.ts';
import type { PlanKind, Provision } from './settings.ts';

/** What decides how the host's programs are used for a pod. */
export interface ProvisionRequest {
  /** The process that prepares the pod becomes its supervisor. */
  readonly runsNow: boolean;
  /** Configuration of the flavours. */
  readonly directories: Directories;
  /** What the operator should hear about the host. */
  warn(line: string): void;
}

/**
 * What a flavour needs to know of the programs of the host it builds upon; undefined where it needs none.
 * @throws GantryError `unsupported` where one is missing or too old, `config`
 */
export async function findProvision(
  plan: PlanKind,
  request: ProvisionRequest,
): Promise<Provision | undefined> {
  if (plan === 'nspawn') return (await import('./nspawn.ts')).findNspawn(request);
  if (plan === 'kvm') return (await import('./kvm.ts')).findKvm(request);
  return undefined;
}

import { keptCapabilities } from '../isolation/capabilities.ts';
import { defaultCalls } from '../isolation/default-system-calls.ts';
import { readIsolators, SECCOMP_ISOLATORS } from '../isolation/isolators.ts';
import { type CallFilter, callFilter } from '../isolation/system-call-filter.ts';
import type { CallPolicy } from '../isolation/system-calls.ts';
import type { ChosenFilter } from '../stage1/app.ts';
import type { Flavour } from '../stage1/flavour.ts';
import type { NamedApp } from './manifest.ts';
import type { PodRequest, PrepareContext } from './request.ts';

/**
 * Decides and compiles the system call filters of a pod's apps: what image or operator name, otherwise the default
 * set; none with `--insecure-options=seccomp`. With the chroot flavour, which keeps nothing from an app that nobody
 * asks to be kept from it, and stage1s of others that do not claim the feature, none but what is named.
 * @returns the filters by the names of their apps
 * @throws GantryError `unsupported` naming the app and what of its set is wrong
 */
export async function appFilters(
  { dataDir }: Pick<PrepareContext, 'dataDir'>,
  request: PodRequest,
  apps: readonly NamedApp[],
  flavour: Flavour,
): Promise<Map<string, ChosenFilter>> {
  const filters = new Map<string, ChosenFilter>();
  if (request.insecure.seccomp) return filters;
  // Apps of one pod mostly ask for the same.
  const compiled = new Map<string, CallFilter>();
  for (const app of apps) {
    const filter = await appPolicy(app, flavour);
    if (filter === undefined) continue;
    const key = JSON.stringify(filter.policy);
    const program = compiled.get(key) ?? (await callFilter(filter.policy, dataDir));
    compiled.set(key, program);
    filters.set(app.name, { ...program, named: filter.named });
  }
  return filters;
}

async function appPolicy(
  { name, section, request: { isolators = [] } }: NamedApp,
  flavour: Flavour,
): Promise<{ policy: CallPolicy; named: boolean } | undefined> {
  const where = `app ${JSON.stringify(name)}`;
  const { capabilities: choice, systemCalls } = readIsolators(section.isolators);
  const privileged = flavour.plan === 'chroot';
  // What an insecure option gives opens no system calls: there is another one for those.
  const capabilities = keptCapabilities(choice, where, privileged);
  if (systemCalls === undefined) {
    if (privileged || !flavour.features.has('seccomp')) return undefined;
    return { policy: defaultCalls(capabilities), named: false };
  }
  const { namedCalls } = await import('../isolation/named-system-calls.ts');
  const asked = isolators.some((isolator) => SECCOMP_ISOLATORS.includes(isolator.name));
  const who = asked ? '--seccomp' : `os/linux/seccomp-${systemCalls.mode}-set of its image`;
  const policy = namedCalls(systemCalls, capabilities, `${where}: ${who}`);
  return policy === undefined ? undefined : { policy, named: true };
}

import { GantryError } from '../error.ts';
import { appSpecOf } from '../image/app-spec.ts';
import { displayName } from '../image/image-record.ts';
import { LayerTree } from '../isolation/layer-tree.ts';
import { type AppChoices, settleApp } from '../stage1/app.ts';
import { withTerminal } from '../stage1/environment.ts';
import type { AppSettings, Rootfs } from '../stage1/settings.ts';
import { appNames, appSection } from './app-section.ts';
import type { NamedApp } from './manifest.ts';
import { requirePlatform } from './platform.ts';
import type { RecordedApp } from './record.ts';
import type { PodRequest, PrepareContext } from './request.ts';
import { appMounts, withOwnVolumes } from './volumes.ts';

/** An app with the directories its root file system comes from. */
export interface LayeredApp extends NamedApp {
  /** Absolute, top first. */
  readonly layers: readonly string[];
}

/** What can be refused without a look at any file. */
export function nameApps(request: PodRequest): NamedApp[] {
  if (request.apps.length === 0 && request.mutable !== true) {
    throw new GantryError('usage', 'pod must contain at least one application');
  }
  if (request.interactive && request.apps.length > 1) {
    throw new GantryError('usage', 'interactive option only supports one image');
  }
  const names = appNames(request.apps);
  return request.apps.map((app, index): NamedApp => {
    requirePlatform(app.record.manifest);
    const name = names[index] ?? '';
    const section = withOwnVolumes(name, appSection(app, request), request);
    return { name, request: app, section, mounts: appMounts(name, section, app, request) };
  });
}

/** Decides everything about an app; the operator hears what of it they might not expect. */
export function settleLayeredApp(
  context: Pick<PrepareContext, 'report'>,
  request: PodRequest,
  { name, request: { record, readOnlyRootfs }, section, mounts, layers }: LayeredApp,
  rootfs: Rootfs,
  given: Pick<AppChoices, 'privileged' | 'volumes'>,
): AppSettings {
  const app = { ...section, mountPoints: [...mounts] };
  const spec = appSpecOf(record, { name, app, readOnlyRootfs: readOnlyRootfs ?? false });
  const { settings, warnings } = settleApp(spec, new LayerTree(layers), rootfs, {
    allCapabilities: request.insecure.capabilities,
    allSystemCalls: request.insecure.seccomp,
    ...given,
  });
  for (const warning of warnings) context.report.warn(warning);
  if (!request.interactive) return settings;
  return { ...settings, environment: withTerminal(settings.environment, process.env['TERM']) };
}

/** What the pod's record says of an app. */
export function recordedApp({ name, request: { record } }: NamedApp): RecordedApp {
  const { id, provenance } = record;
  return { name, imageId: id, imageName: displayName(record), provenance };
}

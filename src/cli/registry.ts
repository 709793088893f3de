import type { CommandDefinition } from './command.ts';

type Loader = () => Promise<{ definition: CommandDefinition }>;

/** Every command by its words; a command's module is loaded only when it is called (or for help). */
export const registry: ReadonlyMap<string, Loader> = new Map<string, Loader>([
  ['app add', () => import('./app-add.ts')],
  ['app list', () => import('./app-list.ts')],
  ['app rm', () => import('./app-rm.ts')],
  ['app sandbox', () => import('./app-sandbox.ts')],
  ['app start', () => import('./app-start.ts')],
  ['app status', () => import('./app-status.ts')],
  ['app stop', () => import('./app-stop.ts')],
  ['cat-manifest', () => import('./cat-manifest.ts')],
  ['completion', () => import('./completion.ts')],
  ['config', () => import('./config.ts')],
  ['enter', () => import('./enter.ts')],
  ['fetch', () => import('./fetch.ts')],
  ['gc', () => import('./gc.ts')],
  ['help', () => import('./help.ts')],
  ['image cat-manifest', () => import('./image-cat-manifest.ts')],
  ['image copy', () => import('./image-copy.ts')],
  ['image export', () => import('./image-export.ts')],
  ['image extract', () => import('./image-extract.ts')],
  ['image gc', () => import('./image-gc.ts')],
  ['image import', () => import('./image-import.ts')],
  ['image list', () => import('./image-list.ts')],
  ['image pack', () => import('./image-pack.ts')],
  ['image render', () => import('./image-render.ts')],
  ['image rm', () => import('./image-rm.ts')],
  ['image sign', () => import('./image-sign.ts')],
  ['image verify', () => import('./image-verify.ts')],
  ['list', () => import('./list.ts')],
  ['man', () => import('./man.ts')],
  ['plan', () => import('./plan.ts')],
  ['prepare', () => import('./prepare.ts')],
  ['rm', () => import('./rm.ts')],
  ['run', () => import('./run.ts')],
  ['run-prepared', () => import('./run-prepared.ts')],
  ['stage1 list', () => import('./stage1-list.ts')],
  ['status', () => import('./status.ts')],
  ['stop', () => import('./stop.ts')],
  ['trust', () => import('./trust.ts')],
  ['trust explain', () => import('./trust-explain.ts')],
  ['trust list', () => import('./trust-list.ts')],
  ['trust rm', () => import('./trust-rm.ts')],
  ['trust show', () => import('./trust-show.ts')],
  ['version', () => import('./version.ts')],
]);

/** The definitions of all commands, in the order of their names. */
export async function allDefinitions(): Promise<CommandDefinition[]> {
  const modules = await Promise.all([...registry.values()].map((load) => load()));
  return modules.map((module) => module.definition);
}

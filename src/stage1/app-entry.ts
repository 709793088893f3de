import { spawnSync } from 'node:child_process';
import { GantryError } from '../error.ts';
import { type EntryPoint, openFlavour } from './flavour.ts';
import { ENTRY_PATH } from './launch.ts';

/** What stop and gc have too: longer than any grace. A stage1 that hangs must not hold up who asks. */
const PATIENCE_MS = 60_000;

/**
 * Has the flavour of a running pod do something with one of its apps (specs/stage1-interface.md), and
 * waits until it is done.
 * @param directory the pod's, absolute
 * @throws GantryError `launch` with what the entry point said, `unsupported` where there is none
 */
export function callAppEntry(
  pod: { readonly uuid: string; readonly directory: string },
  entry: Extract<EntryPoint, `app-${string}`>,
  app: string,
): void {
  const program = openFlavour(`${pod.directory}/stage1`).entryPoint(entry);
  const result = spawnSync(program, [pod.uuid, app], {
    cwd: pod.directory,
    env: { PATH: ENTRY_PATH },
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: PATIENCE_MS,
    killSignal: 'SIGKILL',
  });
  if (result.status === 0) return;
  const [line = ''] = (result.stderr ?? '').trim().split('\n');
  const said = line.replace(`gantry: ${entry}: `, '');
  const why = said || result.error?.message || `it ended with ${result.signal ?? result.status}`;
  throw new GantryError('launch', said ? why : `stage1 ${entry}: ${why}`, { cause: result.error });
}

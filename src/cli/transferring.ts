import { loadLimits } from '../config/limits.ts';
import type { FetchContext } from '../fetch/context.ts';
import { Store } from '../store/store.ts';
import type { Context } from './context.ts';
import { interruptible } from './interruption.ts';

/**
 * Does work that brings or sends images; SIGINT and SIGTERM break it off, and what is half done is
 * removed before the process ends by that signal.
 */
export async function transferring<Result>(
  context: Context,
  work: (context: FetchContext) => Promise<Result>,
): Promise<Result> {
  const interruption = interruptible();
  try {
    return await work({
      store: Store.open(context.dataDir),
      pullPolicy: 'never',
      limits: loadLimits(context.directories),
      directories: context.directories,
      insecure: context.insecure,
      report: context.report,
      env: process.env,
      signal: interruption.signal,
    });
  } finally {
    interruption.end();
  }
}

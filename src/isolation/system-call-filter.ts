import { FilterCache } from './filter-cache.ts';
import { type CallPolicy, describeCalls } from './system-calls.ts';

/** A compiled system call filter, and what it does. */
export interface CallFilter {
  /** `struct sock_filter`s, base64: the argument of the plan's `seccomp`. */
  readonly program: string;
  /** For people. */
  readonly does: string;
}

/**
 * The filter that a policy asks for. Compiling takes libseccomp tens of milliseconds, so that a filter is kept below
 * the data directory for all pods that ask for the same.
 */
export async function callFilter(policy: CallPolicy, dataDir: string): Promise<CallFilter> {
  const cache = new FilterCache(dataDir);
  let program = cache.find(policy);
  if (program === undefined) {
    const { compileCalls } = await import('./system-call-program.ts');
    program = compileCalls(policy);
    cache.keep(policy, program);
  }
  return { program: program.toString('base64'), does: describeCalls(policy) };
}

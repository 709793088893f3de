import { GantryError } from '../error.ts';

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The signal that broke the work off, once one has. */
let received: NodeJS.Signals | undefined;

/**
 * A signal that aborts at the first SIGINT, SIGTERM or SIGHUP, so that what is half done is cleaned up
 * before the process ends; `end` lets such signals end it at once again.
 */
export function interruptible(): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const listener = (signal: NodeJS.Signals) => {
    received = signal;
    controller.abort(new GantryError('interrupted', `interrupted by ${signal}: nothing was kept`));
  };
  for (const signal of ENDING_SIGNALS) process.on(signal, listener);
  return {
    signal: controller.signal,
    end: () => {
      for (const signal of ENDING_SIGNALS) process.off(signal, listener);
    },
  };
}

/**
 * Ends by the signal that broke the work off, as whoever sent it expects; returns where there was none.
 * Others may still listen for it (proper-lockfile gives its locks back then), and do so in their turn.
 */
export async function dieOfInterruption(): Promise<void> {
  if (received === undefined) return;
  process.kill(process.pid, received);
  await new Promise((resolve) => setTimeout(resolve, 1000));
}

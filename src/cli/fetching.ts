import { GantryError } from '../error.ts';
import type { FetchContext, KeyReview, PullPolicy } from '../fetch/context.ts';
import type { ImageRecord } from '../image/image-record.ts';
import { quote } from '../image/quotation.ts';
import type { Reference } from '../image/reference.ts';
import { type CliOption, deprecated, deprecation, valued } from './command.ts';
import type { Context } from './context.ts';
import { interruptible } from './interruption.ts';

/** What is to be fetched, beside what the global options say. */
export interface FetchRequest extends Pick<FetchContext, 'store' | 'pullPolicy' | 'limits'> {
  reference: Reference;
  signature?: string;
}

const STORE_ONLY = deprecated('--store-only', '--pull-policy=never');
const NO_STORE = deprecated('--no-store', '--pull-policy=update');

/** `--pull-policy`, and what rkt had before it. */
export function pullPolicyOptions(fallback: PullPolicy): CliOption[] {
  return [
    {
      ...valued(
        '--pull-policy <POLICY>',
        'when to ask the network for an image: never, new (only if it is not stored) or update',
        fallback,
      ),
      values: ['never', 'new', 'update'],
    },
    STORE_ONLY,
    NO_STORE,
  ];
}

/** What the options above say. Throws `usage` for a word that is none. */
export function parsePullPolicy(
  { pullPolicy, storeOnly, store }: Readonly<Record<string, unknown>>,
  { report }: Pick<Context, 'report'>,
): PullPolicy {
  const [never, always] = [storeOnly === true, store === false];
  if (never && always) {
    throw new GantryError('usage', 'both --store-only and --no-store specified');
  }
  if (never) report.warn(deprecation(STORE_ONLY));
  if (always) report.warn(deprecation(NO_STORE));
  if (never || always) return never ? 'never' : 'update';
  if (pullPolicy === 'never' || pullPolicy === 'new' || pullPolicy === 'update') return pullPolicy;
  throw new GantryError(
    'usage',
    `--pull-policy: ${quote(String(pullPolicy))} is unknown: use never, new or update`,
  );
}

/**
 * Fetches an image; SIGINT and SIGTERM break the fetch off, and what is half done is removed before
 * the process ends by that signal. Under a service manager the unit's start time is extended.
 */
export async function fetchWith(context: Context, request: FetchRequest): Promise<ImageRecord> {
  const { fetchImage } = await import('../fetch/fetch.ts');
  const interruption = interruptible();
  const ready = keepManagerWaiting(`Fetching ${request.reference.text}`);
  try {
    return await fetchImage(
      request.reference,
      {
        ...request,
        directories: context.directories,
        insecure: context.insecure,
        trustKeysFromHttps: context.trustKeysFromHttps,
        report: context.report,
        env: process.env,
        signal: interruption.signal,
        reviewKey: await keyReview(),
      },
      request.signature === undefined ? {} : { signature: request.signature },
    );
  } finally {
    ready();
    interruption.end();
  }
}

/** What asks whether to trust keys found while fetching; not loaded where nobody can answer. */
async function keyReview(): Promise<KeyReview | undefined> {
  const { isatty } = await import('node:tty');
  if (!isatty(0)) return undefined;
  const { askForReview } = await import('./key-review.ts');
  return askForReview();
}

/** How far ahead a unit's start time-out is pushed, and how often. */
const EXTENSION_USEC = 60_000_000;
const EXTENSION_INTERVAL_MS = 20_000;

/** sd_notify(3): says what is being waited for, and asks for more time until the result is called. */
function keepManagerWaiting(status: string): () => void {
  const socket = process.env['NOTIFY_SOCKET'];
  if (socket === undefined || socket === '') return () => undefined;
  const extend = async () => {
    const { system } = await import('../system/binding.ts');
    try {
      system.notify(socket, `STATUS=${status}\nEXTEND_TIMEOUT_USEC=${EXTENSION_USEC}`);
    } catch {
      // A manager that does not listen is no reason not to fetch.
    }
  };
  void extend();
  const timer = setInterval(extend, EXTENSION_INTERVAL_MS);
  return () => clearInterval(timer);
}

import type { Directories } from '../config/directories.ts';
import type { InsecureOptions } from '../config/insecure.ts';
import type { UnpackLimits } from '../image/unpack-limits.ts';
import type { Store } from '../store/store.ts';
import type { Pace } from './pace.ts';
import type { Reporter } from './reporter.ts';

/** When the network is asked: never, for what the store lacks, or to see whether there is newer. */
export type PullPolicy = 'never' | 'new' | 'update';

/** What speaking to servers takes, whatever is fetched. */
export interface TransportContext {
  /** Where `auth.d` and `trustedkeys` lie. */
  readonly directories: Directories;
  readonly insecure: InsecureOptions;
  readonly report: Reporter;
  /** Proxy and certificate variables are read from here. */
  readonly env: NodeJS.ProcessEnv;
  /** Ends everything under way; what was half done is removed. */
  readonly signal?: AbortSignal | undefined;
  /** Departures from the ordinary time limits and retries. */
  readonly pace?: Partial<Pace> | undefined;
}

/** Shows a discovered key to the operator, and answers whether to trust it for the prefix. */
export type KeyReview = (prefix: string, url: string, key: Uint8Array) => Promise<boolean>;

/** What fetching an image takes. */
export interface FetchContext extends TransportContext {
  readonly store: Store;
  readonly pullPolicy: PullPolicy;
  readonly limits: UnpackLimits;
  /** `--trust-keys-from-https`: believe keys an image's own host serves over HTTPS. */
  readonly trustKeysFromHttps?: boolean | undefined;
  /** Asked about discovered keys for a name no key is trusted for; absent where nobody can answer. */
  readonly reviewKey?: KeyReview | undefined;
}

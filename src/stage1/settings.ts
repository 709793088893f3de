import type { Credentials } from '../isolation/users.ts';
import type { NetworkMode } from '../network/namespace.ts';
import type { Variable } from './environment.ts';

/**
 * Everything decided about a pod, as plain JSON: what a launch plan is compiled from, without a look
 * at anything else. It is kept in the pod's record, so that a prepared pod can be started with
 * another network, host name or terminal.
 */
export interface PodSettings {
  readonly uuid: string;
  readonly hostname: string;
  readonly network: NetworkMode;
  /** The apps read the host's resolver configuration. */
  readonly hostResolver: boolean;
  /** The one app runs on a terminal. */
  readonly interactive: boolean;
  /** Seconds between the request to end and KILL of an orderly stop. */
  readonly graceSeconds: number;
  /** The absolute directory of the pod's own control group, to be made; none where absent. */
  readonly cgroup?: string;
  /** `--insecure-options=paths`. */
  readonly openPaths: boolean;
  readonly apps: readonly AppSettings[];
  /** Names of the directories below `volumes/`. */
  readonly volumes: readonly string[];
}

/** Everything decided about one app. */
export interface AppSettings {
  readonly name: string;
  readonly rootfs: Rootfs;
  readonly readOnlyRootfs: boolean;
  /** Program, argv[0] and arguments. */
  readonly exec: readonly string[];
  readonly credentials: Credentials;
  readonly capabilities: readonly string[];
  readonly noNewPrivileges: boolean;
  /**
   * Whether the app may make user namespaces, in which it has every capability: enough to mount the
   * host's control groups, which belong to root, and freeze or kill what is in them.
   */
  readonly userNamespaces: boolean;
  readonly environment: readonly Variable[];
  readonly workingDirectory: string;
  /** The image has no such directory: it is made when the app starts. */
  readonly makesWorkingDirectory?: boolean;
  /** The number of the signal that asks the app to end; SIGTERM where absent. */
  readonly stopSignal?: number;
  readonly mounts: readonly VolumeMount[];
  /** Which of the files a pod brings the image lacks. */
  readonly missing: readonly NameFile[];
}

/**
 * Where an app's root file system comes from. Paths are relative to the pod directory; `lowers` are top
 * first.
 */
export type Rootfs =
  | { readonly kind: 'overlay'; readonly lowers: readonly string[] }
  | { readonly kind: 'copy' };

/** A volume at a path of an app's root. */
export interface VolumeMount {
  readonly volume: string;
  readonly path: string;
  readonly readOnly: boolean;
}

export type NameFile = 'hosts' | 'hostname' | 'mtab';
export const NAME_FILES: readonly NameFile[] = ['hosts', 'hostname', 'mtab'];

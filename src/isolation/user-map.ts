/** The users and groups of the host that those of a pod are: `first` is the pod's root. */
export interface UserRange {
  readonly first: number;
  readonly count: number;
}

/** As many as every image can be expected to need, nobody (65534) included. */
export const USERS_OF_A_POD = 65_536;

/** Where supervisors of running pods hold the locks of their ranges: of the whole host, whatever the data directory. */
export const USER_LOCKS = '/run/gantry/users';

/** Whom the kernel shows in place of users beyond a map (/proc/sys/kernel/overflowuid): nobody's, in the pod and outside. */
const NOBODY = 65_534;

/**
 * Who of the host a user or group of a pod is.
 * @param users those of the pod; undefined where they are the host's own
 */
export function hostUser(id: number, users: UserRange | undefined): number {
  if (users === undefined) return id;
  return id < users.count ? users.first + id : NOBODY;
}

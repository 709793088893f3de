import { appSections } from './app-steps.ts';
import { compileChroot } from './compile-chroot.ts';
import { compileKvm } from './compile-kvm.ts';
import { compileNspawn } from './compile-nspawn.ts';
import { removeGroupSteps } from './group-steps.ts';
import type { Plan } from './plan.ts';
import { podSteps, supervisorSteps } from './pod-steps.ts';
import type { PodSettings } from './settings.ts';
import { userOutsideSteps, userPodSteps } from './user-steps.ts';

/** Compiles the launch plan of a pod whose every setting is decided, for its flavour. Pure. */
export function compilePlan(pod: PodSettings): Plan {
  switch (pod.plan) {
    case 'chroot':
      return compileChroot(pod);
    case 'nspawn':
      return compileNspawn(pod);
    case 'kvm':
      return compileKvm(pod);
    default:
      return compileNative(pod);
  }
}

/**
 * The pod directory is the working directory until the pod's own root, a tmpfs at `root`, takes the place of the host's; there
 * the apps' roots lie in /apps, and what they share in /dev and /volumes; /own-dev is where each, in its
 * own mount namespace, puts its /dev together.
 */
function compileNative(pod: PodSettings): Plan {
  return {
    supervisor: supervisorSteps(pod),
    ...(pod.users === undefined
      ? { pod: podSteps(pod) }
      : { outside: userOutsideSteps(pod), pod: userPodSteps(pod) }),
    apps: appSections(pod),
    teardown: removeGroupSteps(pod),
  };
}

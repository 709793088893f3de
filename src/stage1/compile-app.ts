import type { SetupStep } from '../isolation/step.ts';
import { rootfsStep, rootSteps, takenAlong } from './app-steps.ts';
import type { AppPlan } from './plan.ts';
import { LATER_ROOT } from './pod-steps.ts';
import type { AppSettings, PodSettings } from './settings.ts';
import { FIRST_VOLUME_SLOT } from './volume-steps.ts';

/** The app's root travels in the slot its /dev has afterwards: it is attached before that is filled. */
const ROOT_SLOT = '0';

/**
 * Compiles the plan of an app that comes to a running pod. Pure. Root and volumes are mounted outside,
 * where the pod directory is in sight, and reach the app in slots.
 */
export function compileAppPlan(pod: PodSettings, app: AppSettings): AppPlan {
  return {
    outside: outsideSteps(app),
    app: {
      name: app.name,
      steps: [
        ['unshare', 'mount'],
        ['move-tree', ROOT_SLOT, LATER_ROOT],
        ...takenAlong(pod),
        ['pivot-root', LATER_ROOT],
        ...rootSteps(pod, app),
      ],
    },
  };
}

function outsideSteps(app: AppSettings): SetupStep[] {
  return [
    ['private-mounts'],
    rootfsStep(app, 'root'),
    ['open-tree', ROOT_SLOT, 'root'],
    ...app.mounts.flatMap(({ volume, readOnly }, index): SetupStep[] => {
      const slot = String(FIRST_VOLUME_SLOT + index);
      return [
        ['open-tree', slot, `volumes/${volume}`],
        ['tree-attributes', slot, readOnly ? 'nodev,ro' : 'nodev'],
      ];
    }),
  ];
}

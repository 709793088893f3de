import { removeApp } from '../pod/app-rm.ts';
import { appCommand } from './app-selection.ts';

export const definition = appCommand(
  'rm',
  {
    summary: 'remove an app from a pod of gantry app sandbox',
    description:
      'Stops the app if it runs, and removes it from the pod, with all it has written but in volumes that other apps have too.',
  },
  removeApp,
);

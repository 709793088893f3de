import { startApp } from '../pod/app-turns.ts';
import { appCommand } from './app-selection.ts';

export const definition = appCommand(
  'start',
  {
    summary: 'start an app of a running pod of gantry app sandbox',
    description:
      'Starts an app that gantry app add has added, for the first time or again, and returns when it runs.',
  },
  startApp,
);

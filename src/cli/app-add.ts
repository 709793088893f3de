import { GantryError } from '../error.ts';
import { findPod } from '../pod/find.ts';
import { Store } from '../store/store.ts';
import { appWishes, mountVolumeWishes } from './app-wishes.ts';
import { APP_OPTIONS, type AppWords, MOUNT_VOLUME_OPTION } from './apps.ts';
import { type CommandDefinition, longName } from './command.ts';
import { requireRoot } from './context.ts';
import { findOrFetchApp, parseAppWords } from './pod-request.ts';

export const definition: CommandDefinition = {
  name: 'app add',
  summary: 'add an app to a running pod of gantry app sandbox',
  description:
    'Makes an app of a stored image ready in a running pod, where gantry app start starts it. The options after IMAGE and the arguments are those of gantry run.',
  operands: 'UUID IMAGE [options] [-- ARGS...]',
  options: [
    ...APP_OPTIONS.filter((option) => !['--signature', '--mount'].includes(longName(option))),
    MOUNT_VOLUME_OPTION,
  ],
  examples: [
    'gantry app add 5bc080ca example.com/worker --name=worker -- --verbose',
    'gantry app add 5bc080ca example.com/web --memory=256M --mnt-volume=data,kind=host,source=/srv,target=/srv',
  ],
  parse: parseAppWords,
  async run(context, { parsed }) {
    requireRoot();
    const [uuid, app] = podAndApp(parsed as AppWords[]);
    const wishes = { ...appWishes(app), ...(await mountVolumeWishes(app)) };
    const { addApp } = await import('../pod/app-add.ts');
    using pod = findPod(context.dataDir, uuid);
    const store = Store.open(context.dataDir);
    const record = await findOrFetchApp(context, store, app, { pullPolicy: 'never' });
    const { directories, dataDir, report, insecure } = context;
    await addApp({ store, directories, dataDir, report }, pod, {
      app: { ...wishes, record },
      insecure,
    });
    return 0;
  },
};

/** To the parser of images the UUID is the first of them. Throws `usage`. */
function podAndApp([pod, app, ...more]: readonly AppWords[]): [uuid: string, app: AppWords] {
  if (pod === undefined || app === undefined) {
    throw new GantryError('usage', 'must provide the pod UUID and an IMAGEID');
  }
  if (more.length > 0) throw new GantryError('usage', 'must give only one app');
  if (pod.args.length > 0 || Object.keys(pod.options).length > 0) {
    throw new GantryError('usage', 'options and arguments of the app must follow its image');
  }
  return [pod.image, app];
}

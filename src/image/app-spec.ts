import { GantryError } from '../error.ts';
import type { ImageId } from './digest.ts';
import { sanitizeAppName } from './identifier.ts';
import type {
  App,
  EventHandler,
  ImageManifest,
  Isolator,
  MountPoint,
  Port,
} from './image-manifest.ts';

/** One app as it will run: what every image format, appc or other, turns into. */
export interface AppSpec {
  /** AC Name, unique in its pod. */
  name: string;
  imageId: ImageId;
  imageName: string;
  /** Program and arguments; never empty. */
  exec: string[];
  user: string;
  group: string;
  supplementaryGids: number[];
  /** Absolute, in the app's root. */
  workingDirectory: string;
  environment: ReadonlyMap<string, string>;
  mountPoints: MountPoint[];
  ports: Port[];
  isolators: Isolator[];
  eventHandlers: EventHandler[];
  readOnlyRootfs: boolean;
}

/** What an operator or a pod manifest changes in an image's app. */
export interface AppOverride extends Partial<Omit<AppSpec, 'imageId' | 'imageName'>> {
  /** Takes the place of the manifest's `app` before anything else is changed. */
  app?: App;
  /** Added behind the arguments of the manifest, or of `exec`, as in rkt. */
  args?: string[];
}

/** An image that is run without an `app` section: rkt's defaults. */
const bare: App = {
  exec: [],
  user: '0',
  group: '0',
  supplementaryGids: [],
  workingDirectory: '/',
  environment: [],
  mountPoints: [],
  ports: [],
  isolators: [],
  eventHandlers: [],
  userAnnotations: {},
  userLabels: {},
};

/**
 * The app an image and what was asked beside it make. An override takes the place of the manifest's
 * field, except `environment`, which is laid over it.
 * @throws GantryError `invalid-manifest` where neither names a program
 */
export function appSpecOf(
  image: { id: ImageId; manifest: ImageManifest },
  override: AppOverride = {},
): AppSpec {
  const { manifest } = image;
  const { app: substitute, args = [], exec, environment, ...fields } = override;
  const app = substitute ?? manifest.app ?? bare;
  return {
    name: override.name ?? sanitizeAppName(manifest.name),
    imageId: image.id,
    imageName: manifest.name,
    exec: commandLine(exec ?? app.exec, args, manifest.name),
    user: app.user,
    group: app.group,
    supplementaryGids: app.supplementaryGids,
    workingDirectory: app.workingDirectory,
    environment: new Map([
      ...app.environment.map(({ name, value }): [string, string] => [name, value]),
      ...(environment ?? []),
    ]),
    mountPoints: app.mountPoints,
    ports: app.ports,
    isolators: app.isolators,
    eventHandlers: app.eventHandlers,
    readOnlyRootfs: false,
    ...fields,
  };
}

function commandLine(exec: string[], args: string[], imageName: string): string[] {
  if (exec.length === 0) {
    throw new GantryError(
      'invalid-manifest',
      `image ${imageName} does not say what to execute: name a program with --exec`,
    );
  }
  return [...exec, ...args];
}

import { GantryError } from '../error.ts';
import type { ImageId } from './digest.ts';
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
  /** Whose rules hold where appc's and OCI's differ. */
  format: 'appc' | 'oci';
  /** Fresh volumes begin with what the image has at their mount points. */
  fillsVolumes: boolean;
  /** Program and arguments; never empty. */
  exec: string[];
  /** What asks the app to end, where not SIGTERM: a signal's name or number, as the image has it. */
  stopSignal?: string;
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

/** What of an app spec is not its image's. */
export interface AppChoice {
  /** AC Name. */
  name: string;
  /** The image's app section, or what takes its place. */
  app: App;
  readOnlyRootfs: boolean;
}

/**
 * Whether an app's fresh volumes begin with what its image has there, as with docker and podman: of OCI
 * images, and of those docker2aci made of Docker's, by the annotation rkt goes by.
 */
export function fillsVolumes(
  { entrypoint }: Pick<App, 'entrypoint'>,
  { annotations }: Pick<ImageManifest, 'annotations'>,
): boolean {
  const docker2aci = annotations.some(({ name }) => name === 'appc.io/docker/repository');
  return entrypoint !== undefined || docker2aci;
}

/**
 * The app that an image and an app section make.
 * @throws GantryError `invalid-manifest` where the section names no program
 */
export function appSpecOf(
  image: { id: ImageId; manifest: ImageManifest },
  { name, app, readOnlyRootfs }: AppChoice,
): AppSpec {
  if (app.exec.length === 0) {
    throw new GantryError(
      'invalid-manifest',
      `image ${image.manifest.name} does not say what to execute: name a program with --exec`,
    );
  }
  return {
    name,
    imageId: image.id,
    imageName: image.manifest.name,
    format: app.entrypoint === undefined ? 'appc' : 'oci',
    fillsVolumes: fillsVolumes(app, image.manifest),
    exec: app.exec,
    ...(app.stopSignal === undefined ? {} : { stopSignal: app.stopSignal }),
    user: app.user,
    group: app.group,
    supplementaryGids: app.supplementaryGids,
    workingDirectory: app.workingDirectory,
    environment: new Map(app.environment.map((variable) => [variable.name, variable.value])),
    mountPoints: app.mountPoints,
    ports: app.ports,
    isolators: app.isolators,
    eventHandlers: app.eventHandlers,
    readOnlyRootfs,
  };
}

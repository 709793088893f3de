import type { App, Port } from './app.ts';
import type { Dependency, ImageManifest } from './image-manifest.ts';
import type { PodManifest, RuntimeApp } from './pod-manifest.ts';

/** A JSON object in appc's own spelling; members that are undefined are left out by JSON.stringify. */
export type ManifestDocument = Record<string, unknown>;

/**
 * An image manifest as appc spells it (spec/aci.md), members in the order of appc's own schema, which rkt prints, and
 * empty ones left out: what `cat-manifest` prints and `image pack` writes. `parseImageManifest` reads it back.
 */
export function imageManifestDocument(manifest: ImageManifest): ManifestDocument {
  return {
    acKind: manifest.acKind,
    acVersion: manifest.acVersion,
    name: manifest.name,
    labels: filled(manifest.labels),
    app: manifest.app && appDocument(manifest.app),
    annotations: filled(manifest.annotations),
    dependencies: filled(manifest.dependencies.map(dependencyDocument)),
    pathWhitelist: filled(manifest.pathWhitelist),
  };
}

/**
 * A pod manifest as appc spells it (spec/pods.md). The lists at the top stand even where they are
 * empty, as in rkt. `parsePodManifest` reads it back.
 */
export function podManifestDocument(manifest: PodManifest): ManifestDocument {
  return {
    acVersion: manifest.acVersion,
    acKind: manifest.acKind,
    apps: manifest.apps.map(runtimeAppDocument),
    volumes: manifest.volumes,
    isolators: manifest.isolators,
    annotations: manifest.annotations,
    ports: manifest.ports.map((port) => ({
      ...port,
      podPort: port.podPort && portDocument(port.podPort),
    })),
    userAnnotations: filled(manifest.userAnnotations),
    userLabels: filled(manifest.userLabels),
  };
}

function runtimeAppDocument(app: RuntimeApp): ManifestDocument {
  return {
    name: app.name,
    image: { name: app.image.name, id: app.image.id, labels: filled(app.image.labels) },
    app: app.app && appDocument(app.app),
    readOnlyRootFS: app.readOnlyRootFS || undefined,
    mounts: filled(app.mounts),
    annotations: filled(app.annotations),
  };
}

function appDocument(app: App): ManifestDocument {
  return {
    exec: app.exec,
    eventHandlers: filled(app.eventHandlers),
    user: app.user,
    group: app.group,
    supplementaryGIDs: filled(app.supplementaryGids),
    workingDirectory: app.workingDirectory === '/' ? undefined : app.workingDirectory,
    environment: filled(app.environment),
    mountPoints: filled(
      app.mountPoints.map((point) => ({ ...point, readOnly: point.readOnly || undefined })),
    ),
    ports: filled(app.ports.map(portDocument)),
    isolators: filled(app.isolators),
    userAnnotations: filled(app.userAnnotations),
    userLabels: filled(app.userLabels),
  };
}

function portDocument({ name, protocol, port, count, socketActivated }: Port): ManifestDocument {
  return { name, protocol, port, count, socketActivated };
}

function dependencyDocument(dependency: Dependency): ManifestDocument {
  return {
    imageName: dependency.imageName,
    imageID: dependency.imageId,
    labels: filled(dependency.labels),
    size: dependency.size,
  };
}

function filled<T extends object>(members: T): T | undefined {
  return Object.keys(members).length === 0 ? undefined : members;
}

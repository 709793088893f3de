import { type Field, refuseDuplicates } from './document.ts';
import { type Isolator, readIsolators } from './isolator.ts';
import { readAppName } from './label.ts';
import { quote } from './quotation.ts';
import { readUserId } from './user-id.ts';

/** What is executed, as whom, and what it expects around it (appc spec/aci.md, `app`). */
export interface App {
  /** Program and arguments; empty where the operator has to name a program. */
  exec: string[];
  /**
   * Of an OCI image: how much of `exec` is its entrypoint, which arguments given by the operator
   * follow in place of the rest (image-spec config.md, `Entrypoint` and `Cmd`).
   */
  entrypoint?: string[];
  /** What asks the app to end, where not SIGTERM: a signal's name or number. */
  stopSignal?: string;
  /** A name, an id, or the path of a file in the image whose owner is meant. */
  user: string;
  group: string;
  supplementaryGids: number[];
  /** Absolute, in the image; `/` unless the manifest says otherwise. */
  workingDirectory: string;
  environment: EnvironmentVariable[];
  mountPoints: MountPoint[];
  ports: Port[];
  isolators: Isolator[];
  eventHandlers: EventHandler[];
  userAnnotations: Record<string, string>;
  userLabels: Record<string, string>;
}

export interface EnvironmentVariable {
  name: string;
  value: string;
}

/** Where an app expects a volume. */
export interface MountPoint {
  name: string;
  /** Absolute, in the image. */
  path: string;
  readOnly: boolean;
}

/** Ports `port` to `port + count - 1` an app listens on. */
export interface Port {
  name: string;
  protocol: string;
  port: number;
  count: number;
  socketActivated: boolean;
}

/** A program to run before the app starts or after it ended. */
export interface EventHandler {
  name: 'pre-start' | 'post-stop';
  exec: string[];
}

/** The `app` object of an image manifest, or its substitute in a pod manifest. */
export function readApp(field: Field): App {
  return {
    exec: readExec(field.member('exec')),
    user: field.member('user').filledString(),
    group: field.member('group').filledString(),
    supplementaryGids: readSupplementaryGids(field),
    workingDirectory: readWorkingDirectory(field.member('workingDirectory')),
    environment: readEnvironment(field.member('environment')),
    mountPoints: readMountPoints(field.member('mountPoints')),
    ports: readPorts(field.member('ports')),
    isolators: readIsolators(field.member('isolators')),
    eventHandlers: readEventHandlers(field.member('eventHandlers')),
    userAnnotations: field.member('userAnnotations').stringMap(),
    userLabels: field.member('userLabels').stringMap(),
  };
}

/**
 * An `exec` list. Its first element may be a bare name, which is looked for along PATH: appc 0.8.11
 * took back the rule that it be absolute.
 */
function readExec(field: Field): string[] {
  const [program] = field.list();
  program?.filledString();
  return field.strings();
}

function readSupplementaryGids(app: Field): number[] {
  // The specification's text says GIDs and its example Gids; its reader takes either.
  const [proper, example] = [app.member('supplementaryGIDs'), app.member('supplementaryGids')];
  if (proper.given && example.given) throw example.refuse('is given besides supplementaryGIDs');
  return (example.given ? example : proper).list().map(readUserId);
}

function readWorkingDirectory(field: Field): string {
  // An empty string is what a packer writes that leaves the field to its default.
  return field.given && field.string() !== '' ? field.absolutePath() : '/';
}

function readEnvironment(list: Field): EnvironmentVariable[] {
  const variables = list.list().map((item) => {
    const name = item.member('name').filledString();
    if (!/^[A-Za-z_][-A-Za-z_0-9.]*$/.test(name)) {
      throw item
        .member('name')
        .refuse(
          `${quote(name)} must be letters, digits, "_", "." and "-", and not begin with a digit`,
        );
    }
    return { name, value: item.member('value').optional((value) => value.string()) ?? '' };
  });
  refuseDuplicates(
    list,
    variables.map((variable) => variable.name),
  );
  return variables;
}

function readMountPoints(list: Field): MountPoint[] {
  const points = list.list().map((item) => ({
    name: readAppName(item.member('name')),
    path: item.member('path').absolutePath(),
    readOnly: item.member('readOnly').optional((field) => field.boolean()) ?? false,
  }));
  refuseDuplicates(
    list,
    points.map((point) => point.name),
  );
  return points;
}

function readPorts(list: Field): Port[] {
  const ports = list.list().map(readPort);
  refuseDuplicates(
    list,
    ports.map((port) => port.name),
  );
  return ports;
}

/** One port or range of ports, also as a pod manifest's `podPort`. */
export function readPort(item: Field): Port {
  const port = item.member('port').integer(1, 65_535);
  // Packers write a count of 0 for an absent one.
  const count = item.member('count').optional((field) => field.integer(0, 65_535)) || 1;
  if (port + count > 65_536) {
    throw item.member('count').refuse('the range of ports must end at 65535 or below');
  }
  return {
    name: readAppName(item.member('name')),
    protocol: item.member('protocol').filledString(),
    port,
    count,
    socketActivated: item.member('socketActivated').optional((field) => field.boolean()) ?? false,
  };
}

function readEventHandlers(list: Field): EventHandler[] {
  const handlers = list.list().map((item): EventHandler => {
    const name = item.member('name').string();
    if (name !== 'pre-start' && name !== 'post-stop') {
      throw item.member('name').refuse(`must be pre-start or post-stop, not ${quote(name)}`);
    }
    const exec = readExec(item.member('exec'));
    if (exec.length === 0) throw item.member('exec').refuse('must name a program');
    return { name, exec };
  });
  refuseDuplicates(
    list,
    handlers.map((handler) => handler.name),
  );
  return handlers;
}

import { GantryError } from '../error.ts';
import { parseAppName, parseIdentifier } from '../image/identifier.ts';
import { quote } from '../image/quotation.ts';
import type { AppRequest } from '../pod/request.ts';
import type { AppWords } from './apps.ts';
import { parseVariables } from './environment-options.ts';
import { parseIsolators } from './isolator-options.ts';
import { parsePairs } from './pairs.ts';
import { parseStreams } from './stream-options.ts';

/** What the options after an image say. Throws `usage`, naming the image. */
export function appWishes(app: AppWords): Omit<AppRequest, 'record'> {
  return ofImage(app.image, () => readAppOptions(app));
}

/** `--mount` after an image. Throws `usage`, naming the image. */
export async function mountWishes({
  image,
  options,
}: AppWords): Promise<Pick<AppRequest, 'mounts'>> {
  if (options['mount'] === undefined) return {};
  const { parseMounts } = await import('./volume-options.ts');
  return ofImage(image, () => ({ mounts: parseMounts(options['mount'] as string[]) }));
}

/** `--mnt-volume`. Throws `usage`, naming the image. */
export async function mountVolumeWishes({
  image,
  options,
}: AppWords): Promise<Pick<AppRequest, 'mounts'>> {
  if (options['mntVolume'] === undefined) return {};
  const { parseMountVolumes } = await import('./volume-options.ts');
  const texts = options['mntVolume'] as string[];
  return ofImage(image, () => ({ mounts: parseMountVolumes(texts) }));
}

/** `--user-annotation` and `--user-label`. Throws `usage`. */
export function userWishes(
  options: Readonly<Record<string, unknown>>,
): Pick<AppRequest, 'userAnnotations' | 'userLabels'> {
  const { userAnnotation, userLabel } = options;
  return {
    userAnnotations: Object.fromEntries(parsePairs(userAnnotation, '--user-annotation')),
    userLabels: Object.fromEntries(parsePairs(userLabel, '--user-label')),
  };
}

/** `--annotation`. Throws `usage`. */
export function parseAnnotations(values: unknown): Map<string, string> {
  const annotations = parsePairs(values, '--annotation');
  for (const name of annotations.keys()) parseIdentifier(name, '--annotation name');
  return annotations;
}

/** What `read` says, its refusals beginning with `what` is refused. */
export function naming<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof GantryError) || error.message.startsWith(`${what}: `)) throw error;
    throw new GantryError(error.code, `${what}: ${error.message}`, { cause: error.cause });
  }
}

function ofImage<T>(image: string, read: () => T): T {
  return naming(`image ${image}`, read);
}

function readAppOptions(app: AppWords): Omit<AppRequest, 'record'> {
  const { name, exec, user, group, workingDir, supplementaryGids } = app.options as Record<
    string,
    string | undefined
  >;
  if (name !== undefined) parseAppName(name, '--name');
  for (const [option, value] of Object.entries({ exec, user, group })) {
    if (value === '') throw new GantryError('usage', `--${option}: it must not be empty`);
  }
  if (workingDir !== undefined) requireDirectory(workingDir);
  const silent = parseStreams(app.options);
  const annotations = parseAnnotations(app.options['annotation']);
  return {
    args: app.args,
    environment: parseVariables(app.options['environment'], '--environment'),
    ...(name === undefined ? {} : { name }),
    ...(exec === undefined ? {} : { exec }),
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
    ...(workingDir === undefined ? {} : { workingDirectory: workingDir }),
    ...(supplementaryGids === undefined ? {} : { supplementaryGids: parseGids(supplementaryGids) }),
    isolators: parseIsolators(app.options),
    ...(app.options['readonlyRootfs'] === true ? { readOnlyRootfs: true } : {}),
    ...(annotations.size === 0 ? {} : { annotations }),
    ...filled(userWishes(app.options)),
    ...(silent.length === 0 ? {} : { silent }),
  };
}

/** Without what the operator did not give, which is the image's then. */
function filled<T extends Record<string, object>>(members: T): Partial<T> {
  const given = Object.entries(members).filter(([, value]) => Object.keys(value).length > 0);
  return Object.fromEntries(given) as Partial<T>;
}

function requireDirectory(path: string): void {
  if (path.startsWith('/') && !path.split('/').includes('..')) return;
  throw new GantryError('usage', `--working-dir: ${quote(path)} is no absolute path without ".."`);
}

function parseGids(list: string): number[] {
  return list.split(',').map((word) => {
    const gid = Number(word);
    if (!/^\d+$/.test(word) || gid > 0xfffffffe) {
      throw new GantryError('usage', `--supplementary-gids: "${word}" is no group id`);
    }
    return gid;
  });
}

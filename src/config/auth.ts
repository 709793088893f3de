import type { Field } from '../image/document.ts';
import { quote } from '../image/quotation.ts';
import { type Directories, inOrder } from './directories.ts';
import { type ConfigFile, Origins, readConfigFiles } from './file.ts';

/** HTTP Basic. */
export interface BasicCredentials {
  type: 'basic';
  user: string;
  password: string;
}

/** An OAuth bearer token. */
export interface OAuthCredentials {
  type: 'oauth';
  token: string;
}

/** AWS Signature Version 4, for S3. */
export interface AwsCredentials {
  type: 'aws';
  accessKeyId: string;
  secretAccessKey: string;
  /** Told from the host name where absent. */
  region?: string;
}

/** What a host wants to be shown. */
export type Credentials = BasicCredentials | OAuthCredentials | AwsCredentials;

/**
 * Credentials by host, keyed as `URL.host` writes it: lower case, with the port unless it is 443.
 * `warnings` holds one line for each file that others than its owner can read.
 */
export class HostCredentials<C extends Credentials = Credentials> extends Map<string, C> {
  readonly warnings: string[] = [];
}

/**
 * Credentials for image servers, from the `auth` files of `auth.d`; overridden host by host.
 * @throws GantryError `config`; the message never holds a secret
 */
export function loadAuth(directories: Directories): HostCredentials {
  return loadCredentials(directories, 'auth', 'domains', readCredentials);
}

/**
 * Credentials for registries, from the `dockerAuth` files of `auth.d`; overridden host by host.
 * @throws GantryError `config`; the message never holds a secret
 */
export function loadRegistryAuth(directories: Directories): HostCredentials<BasicCredentials> {
  return loadCredentials(directories, 'dockerAuth', 'registries', (root) =>
    readBasic(root.member('credentials')),
  );
}

function loadCredentials<C extends Credentials>(
  directories: Directories,
  kind: string,
  hostsField: string,
  read: (root: Field) => C,
): HostCredentials<C> {
  const found = new HostCredentials<C>();
  for (const directory of inOrder(directories)) {
    const origins = new Origins();
    for (const file of readConfigFiles(directory, 'auth.d', ['auth', 'dockerAuth'])) {
      if (file.kind !== kind) continue;
      const credentials = read(file.root);
      for (const host of readHosts(file.root.member(hostsField))) {
        origins.claim(host, `${kind} for ${quote(host)}`, file);
        found.set(host, credentials);
      }
      if (file.exposed) found.warnings.push(exposure(file));
    }
  }
  return found;
}

function exposure(file: ConfigFile): string {
  return `${file.path} holds credentials and can be read by others: chmod 600 it`;
}

function readHosts(field: Field): string[] {
  const items = field.list();
  if (items.length === 0) throw field.refuse('must name at least one host');
  return items.map(readHost);
}

function readHost(item: Field): string {
  const text = item.filledString();
  // Written as URL.host will write it, so that a look-up is a plain comparison.
  const url = URL.canParse(`https://${text}`) ? new URL(`https://${text}`) : undefined;
  if (url === undefined || /[/\\?#@\s]/.test(text)) {
    throw item.refuse(`${quote(text)} is not a host or host:port`);
  }
  return url.host;
}

function readCredentials(root: Field): Credentials {
  const type = root.member('type').filledString();
  const field = root.member('credentials');
  if (type === 'basic') return readBasic(field);
  if (type === 'oauth') return { type, token: readHeaderText(field.member('token')) };
  if (type === 'aws') return readAws(field);
  throw root.member('type').refuse(`must be basic, oauth or aws, not ${quote(type)}`);
}

function readBasic(field: Field): BasicCredentials {
  const user = field.member('user').filledString();
  // RFC 7617, section 2: the first colon ends the user.
  if (user.includes(':')) throw field.member('user').refuse('must not hold ":"');
  return { type: 'basic', user, password: field.member('password').filledString() };
}

function readAws(field: Field): AwsCredentials {
  const region = field.member('awsRegion').optional((given) => given.string()) ?? '';
  return {
    type: 'aws',
    accessKeyId: readHeaderText(field.member('accessKeyID')),
    secretAccessKey: field.member('secretAccessKey').filledString(),
    ...(region === '' ? {} : { region }),
  };
}

/** What goes into a header as it is: a line break in it would be a second header. */
function readHeaderText(field: Field): string {
  const text = field.filledString();
  if (!/^[\x21-\x7e]+$/.test(text)) throw field.refuse('must be printable ASCII without spaces');
  return text;
}

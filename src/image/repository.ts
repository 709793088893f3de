import { GantryError } from '../error.ts';
import { quote } from './quotation.ts';

/** Where in which registry an image's versions lie (distribution-spec, "Pulling manifests"). */
export interface Repository {
  /** As `URL.host` writes it: lower case, with the port unless it is 443. */
  readonly host: string;
  /** `library/busybox`. */
  readonly path: string;
}

/** What Docker Hub calls itself in references; its registry answers at `registry-1.docker.io`. */
export const dockerHub = 'docker.io';
const dockerHubNames: ReadonlySet<string> = new Set([
  dockerHub,
  'index.docker.io',
  'registry-1.docker.io',
]);

// distribution-spec, "Pulling manifests": the two patterns, and the limit clients set themselves.
const repositoryPath =
  /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const tagPattern = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const longestName = 255;

/**
 * A repository as docker writes it: `busybox` and `team/app` are Docker Hub's; a first component that
 * is `localhost`, or has a dot or a port, is a host.
 * @throws GantryError `invalid-reference`; `reference` is what the message quotes
 */
export function parseRepository(text: string, reference: string = text): Repository {
  const slash = text.indexOf('/');
  const first = slash === -1 ? '' : text.slice(0, slash);
  if (!isHostLike(first)) return hubRepository(text, reference);
  const url = URL.parse(`https://${first}`);
  if (url === null || /[^-a-zA-Z0-9.:[\]]/.test(first)) {
    throw invalid(reference, `${quote(first)} is not a registry's host`);
  }
  const path = text.slice(slash + 1);
  if (dockerHubNames.has(url.host)) return hubRepository(path, reference);
  return { host: url.host, path: checkedPath(path, reference) };
}

/** The image name of a repository: `docker.io/library/busybox`, `localhost:5000/app`. */
export function repositoryName({ host, path }: Repository): string {
  return `${host}/${path}`;
}

/** The name images have of a host: without the port of HTTPS, and of Docker Hub's several names one. */
export function canonicalHost(host: string): string {
  const bare = host.replace(/:443$/, '');
  return dockerHubNames.has(bare) ? dockerHub : bare;
}

/** Whether `text` may be a tag (distribution-spec, "Pulling manifests"). */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

/** Whether docker would take a first component for a registry's host. */
export function isHostLike(component: string): boolean {
  return component === 'localhost' || /[.:]/.test(component);
}

function hubRepository(path: string, reference: string): Repository {
  const whole = path.includes('/') ? path : `library/${path}`;
  return { host: dockerHub, path: checkedPath(whole, reference) };
}

function checkedPath(path: string, reference: string): string {
  if (!repositoryPath.test(path)) {
    throw invalid(
      reference,
      `${quote(path)} is not a repository: lower-case letters and digits, with ".", "_" or "-" between them and "/" between components`,
    );
  }
  if (path.length > longestName) throw invalid(reference, 'its repository is too long');
  return path;
}

function invalid(reference: string, why: string): GantryError {
  return new GantryError(
    'invalid-reference',
    `invalid image reference ${quote(reference)}: ${why}`,
  );
}

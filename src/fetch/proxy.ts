import { BlockList, isIP, isIPv6 } from 'node:net';
import { GantryError } from '../error.ts';

/**
 * The proxy the environment names for a URL: `https_proxy` or `http_proxy` by the URL's scheme, the
 * lower-case name before the upper-case one, an empty value meaning none; `no_proxy` lists host
 * names (which cover their subdomains), addresses, CIDR blocks, each with an optional port, or `*`.
 * This machine itself is never reached through a proxy, as with Go's clients and so rkt.
 *
 * @throws GantryError `config` for a proxy that is not an http or https URL
 */
export function proxyFor(url: URL, env: NodeJS.ProcessEnv): URL | undefined {
  const scheme = url.protocol === 'https:' ? 'https' : 'http';
  const value = variable(env, `${scheme}_proxy`);
  if (value === undefined) return undefined;
  if (isLoopback(url.hostname) || isExempt(url, variable(env, 'no_proxy') ?? '')) return undefined;
  return parseProxy(value, `${scheme.toUpperCase()}_PROXY`);
}

function variable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  return [env[name], env[name.toUpperCase()]].find((value) => value !== undefined && value !== '');
}

function parseProxy(value: string, name: string): URL {
  // `host:port` alone is common; it parses as a scheme, so the missing one is put in front.
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    // The value itself may hold a password, so it is not repeated.
    throw new GantryError(
      'config',
      `${name} is not an http:// or https:// URL: correct or unset it`,
    );
  }
  return url;
}

/** Whether a host of a URL is this machine itself. */
export function isLoopback(hostname: string): boolean {
  const host = withoutBrackets(hostname);
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function isExempt(url: URL, list: string): boolean {
  const host = withoutBrackets(url.hostname).replace(/\.$/, '').toLowerCase();
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list.split(/[,\s]+/).some((entry) => entry !== '' && covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return blockHolds(entry, host);
  const parsed = /^(\[.+\]|[^:]+|.*:.*:.*?)(?::(\d+))?$/.exec(entry);
  const [, name = '', wantedPort] = isIPv6(entry) ? [entry, entry] : (parsed ?? []);
  if (wantedPort !== undefined && wantedPort !== port) return false;
  const suffix = withoutBrackets(name).toLowerCase().replace(/^\*/, '');
  if (suffix.startsWith('.')) return host.endsWith(suffix) || `.${host}` === suffix;
  return host === suffix || host.endsWith(`.${suffix}`);
}

function blockHolds(entry: string, host: string): boolean {
  const [network = '', bits = ''] = entry.split('/');
  const family = isIP(network);
  if (family === 0 || isIP(host) !== family || !/^\d+$/.test(bits)) return false;
  if (Number(bits) > (family === 4 ? 32 : 128)) return false;
  const block = new BlockList();
  const word = family === 4 ? 'ipv4' : 'ipv6';
  block.addSubnet(network, Number(bits), word);
  return block.check(host, word);
}

function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

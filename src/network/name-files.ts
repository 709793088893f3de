import { existsSync } from 'node:fs';

/** The resolver configuration a pod in the host's network shares with the host. */
export const RESOLV_CONF = '/etc/resolv.conf';

/** Whether the host has a resolver configuration to share. */
export function hasResolvConf(): boolean {
  return existsSync(RESOLV_CONF);
}

/** /etc/hosts for an image that brings none: the pod finds itself without a name server. */
export function hostsFile(hostname: string): string {
  const [short = hostname] = hostname.split('.');
  const names = short === hostname ? hostname : `${hostname} ${short}`;
  return [
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    `127.0.1.1\t${names}`,
    '',
  ].join('\n');
}

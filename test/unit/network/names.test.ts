import { describe, expect, it } from 'vitest';
import { defaultHostname, parseHostname } from '../../../src/network/hostname.ts';
import { hostsFile } from '../../../src/network/name-files.ts';

describe('the host name of a pod', () => {
  it('is made from its UUID', () => {
    expect(defaultHostname('5bc080ca')).toBe('gantry-5bc080ca');
  });

  it.each(['web', 'web-1.example.com', 'X'])('may be %s', (name) => {
    expect(parseHostname(name)).toBe(name);
  });

  it.each(['', '-web', 'web-', 'a b', 'a\nb', 'a..b', 'ä', 'x'.repeat(65)])(
    'may not be %j',
    (name) => {
      expect(() => parseHostname(name)).toThrow(/^invalid host name/);
    },
  );
});

describe('/etc/hosts', () => {
  it('names localhost and the pod, by its short name too', () => {
    expect(hostsFile('web.example.com').split('\n')).toEqual([
      '127.0.0.1\tlocalhost',
      '::1\tlocalhost ip6-localhost ip6-loopback',
      '127.0.1.1\tweb.example.com web',
      '',
    ]);
  });
});

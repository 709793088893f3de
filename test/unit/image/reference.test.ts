import { describe, expect, it } from 'vitest';
import { formatName, parseReference } from '../../../src/image/reference.ts';

function labelsOf(text: string): Record<string, string> {
  const reference = parseReference(text);
  if (reference.kind !== 'name') throw new Error(`${text} is a ${reference.kind}`);
  return Object.fromEntries(reference.labels);
}

describe('a name', () => {
  it.each([
    ['example.com/worker', 'example.com/worker', {}],
    ['worker', 'worker', {}],
    ['worker:7', 'worker', { version: '7' }],
    ['example.com/worker:1.2.3+git', 'example.com/worker', { version: '1.2.3+git' }],
    ['example.com/worker,version=1.0', 'example.com/worker', { version: '1.0' }],
    [
      'example.com/w:2,os=linux,arch=amd64',
      'example.com/w',
      { version: '2', os: 'linux', arch: 'amd64' },
    ],
    ['a.b/c,channel=x=y?&*/', 'a.b/c', { channel: 'x=y?&*/' }],
    ['a.b/c,channel=', 'a.b/c', { channel: '' }],
    ['sha512-not-an-id', 'sha512-not-an-id', {}],
  ])('%s is read into name and labels', (text, name, labels) => {
    expect(parseReference(text)).toMatchObject({ kind: 'name', text, name });
    expect(labelsOf(text)).toEqual(labels);
  });

  it('is written back as it was read', () => {
    const labels = new Map([
      ['os', 'linux'],
      ['version', '3'],
    ]);
    expect(formatName('a.b/c', labels)).toBe('a.b/c:3,os=linux');
    expect(formatName('a.b/c', new Map())).toBe('a.b/c');
  });

  it.each([
    ['', 'must not be empty'],
    ['a b', 'a space or a control character'],
    ['a\u009bb', 'a space or a control character'],
    ['Example.com/app', 'only lower case'],
    ['example.com/', 'must start and end'],
    ['example.com//c', 'empty component'],
    ['a:1:2', 'a colon may stand only once'],
    ['a,os=linux:2', 'a colon may stand only once'],
    ['a:', 'its version is empty'],
    ['a:1,version=2', '"version" is given twice'],
    ['a,x=1,x=2', '"x" is given twice'],
    ['a,os', 'the label "os" has no value'],
    ['a,', 'the label "" has no value'],
    ['a,OS=linux', 'the label name "OS"'],
    ['a,name=b', 'a label cannot be called "name"'],
    [':1', 'the name "" must not be empty'],
  ])('%j is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'invalid-reference', message: expect.stringContaining(why) }),
    );
  });
});

describe('an image ID', () => {
  it('is accepted whole and shortened', () => {
    for (const digits of ['ab', 'ab'.repeat(32), 'ab'.repeat(64)]) {
      const text = `sha512-${digits}`;
      expect(parseReference(text)).toEqual({ kind: 'id', text, prefix: text });
    }
  });

  it.each([
    ['sha512-', 'image ID too short'],
    ['sha512-a', 'image ID too short'],
    ['sha512-xyz', 'lower-case hex'],
    ['sha512-ABCD', 'lower-case hex'],
    [`sha512-${'a'.repeat(129)}`, 'image ID too long'],
    ['sha256-a', 'image ID too short'],
    [`sha256:${'a'.repeat(65)}`, 'image ID too long'],
  ])('%s is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(why);
  });
});

it('an image ID of an OCI image is accepted with the separator that OCI uses', () => {
  expect(parseReference('sha256-0bad')).toMatchObject({ kind: 'id', prefix: 'sha256-0bad' });
  expect(parseReference('sha256:0bad')).toMatchObject({ kind: 'id', prefix: 'sha256-0bad' });
});

describe('an image in a registry', () => {
  const digest = `sha256:${'a1'.repeat(32)}`;
  it.each([
    ['docker://busybox', 'docker.io', 'library/busybox', 'latest'],
    ['docker:busybox', 'docker.io', 'library/busybox', 'latest'],
    ['docker://team/app:1.2', 'docker.io', 'team/app', '1.2'],
    ['docker://docker.io/busybox', 'docker.io', 'library/busybox', 'latest'],
    ['docker://index.docker.io/team/app', 'docker.io', 'team/app', 'latest'],
    ['docker://registry-1.docker.io/library/busybox:1', 'docker.io', 'library/busybox', '1'],
    ['oci://Quay.IO/coreos/etcd:v3', 'quay.io', 'coreos/etcd', 'v3'],
    ['docker://quay.io:443/coreos/etcd', 'quay.io', 'coreos/etcd', 'latest'],
    ['docker://localhost/a', 'localhost', 'a', 'latest'],
    ['docker://[::1]:5000/a', '[::1]:5000', 'a', 'latest'],
    ['localhost:5000/app', 'localhost:5000', 'app', 'latest'],
    ['registry.example.com:5000/team/app:1.2', 'registry.example.com:5000', 'team/app', '1.2'],
  ])('%s is read into host, repository and tag', (text, host, path, tag) => {
    expect(parseReference(text)).toEqual({
      kind: 'registry',
      text,
      repository: { host, path },
      tag,
    });
  });

  it('may be named by its digest, with or without a tag', () => {
    const plain = parseReference(`example.com/app@${digest}`);
    expect(plain).toMatchObject({ kind: 'registry', repository: { host: 'example.com' } });
    expect(plain).not.toHaveProperty('tag');
    expect(parseReference(`docker://example.com/app:1@${digest}`)).toMatchObject({
      tag: '1',
      digest: { hex: 'a1'.repeat(32) },
    });
  });

  it('is an App Container name where nothing says otherwise', () => {
    expect(parseReference('example.com/app:1.2').kind).toBe('name');
  });

  it.each([
    ['docker://', 'is not a repository'],
    ['docker://example.com/', 'is not a repository'],
    ['docker://example.com/App', 'is not a repository'],
    ['docker://example.com/a//b', 'is not a repository'],
    ['docker://example.com/../b', 'is not a repository'],
    ['docker://example.com/a:', 'is not a tag'],
    ['docker://example.com/a:-x', 'is not a tag'],
    ['docker://example.com/a@sha256:00', 'is not a digest'],
    ['docker://example.com/a@md5:00', 'is not a digest'],
    [`docker://example.com/a@${'sha256-'}${'a1'.repeat(32)}`, 'is not a digest'],
    ['docker://user@example.com/a', 'is not a digest'],
    ['docker://example.com:99999/a', "is not a registry's host"],
    [`docker://example.com/${'a'.repeat(256)}`, 'is too long'],
  ])('%s is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'invalid-reference', message: expect.stringContaining(why) }),
    );
  });
});

describe('an OCI layout or archive', () => {
  it.each([
    ['oci:/srv/layout', 'oci', '/srv/layout', undefined],
    ['oci:layout:1.2', 'oci', 'layout', '1.2'],
    ['oci-archive:app.tar', 'oci-archive', 'app.tar', undefined],
    ['oci-archive:app.tar:example.com/app:1', 'oci-archive', 'app.tar', 'example.com/app:1'],
    ['docker-archive:/tmp/x.tar:@0', 'docker-archive', '/tmp/x.tar', '@0'],
  ])('%s is read into path and ref', (text, format, path, ref) => {
    const wanted = { kind: 'layout', text, format, path };
    expect(parseReference(text)).toEqual(ref === undefined ? wanted : { ...wanted, ref });
  });

  it.each(['oci:', 'oci-archive::1'])('%s is refused', (text) => {
    expect(() => parseReference(text)).toThrow('needs the path');
  });
});

describe('a URL', () => {
  it.each(['https://example.com/a.aci', 'http://example.com:8080/x/a.aci?token=1'])(
    '%s is kept whole',
    (text) => {
      const reference = parseReference(text);
      expect(reference.kind === 'url' && reference.url.href).toBe(text);
    },
  );

  it.each([
    ['https://example.com/a.tar', 'ends in .aci'],
    ['https://', 'not a URL with a host'],
    ['https:example', 'not a URL with a host'],
    ['file:a.aci', 'file:// and an absolute path'],
    ['file://host/a.aci', 'file:// and an absolute path'],
    ['file:///a%zz.aci', 'percent-encoding is broken'],
    ['file:///a%00.aci', 'holds a NUL'],
  ])('%s is refused', (text, why) => {
    expect(() => parseReference(text)).toThrow(
      expect.objectContaining({ code: 'invalid-reference', message: expect.stringContaining(why) }),
    );
  });

  it.each(['cimd:appc:v=0:a', 'ftp://a/b.aci'])(
    '%s is refused as not supported, saying what is',
    (text) => {
      expect(() => parseReference(text)).toThrow(
        expect.objectContaining({
          code: 'unsupported',
          message: expect.stringContaining('use a name'),
        }),
      );
    },
  );
});

describe('a path', () => {
  it.each([
    ['/srv/a.aci', '/srv/a.aci'],
    ['./a.aci', './a.aci'],
    ['../x/a.aci', '../x/a.aci'],
    ['x/./a.aci', 'x/./a.aci'],
    ['a.aci', 'a.aci'],
    ['images/a.aci', 'images/a.aci'],
    ['./with:colon.aci', './with:colon.aci'],
    ['file:///srv/a%20b.aci', '/srv/a b.aci'],
  ])('%s is taken as a path', (text, path) => {
    expect(parseReference(text)).toEqual({ kind: 'path', text, path });
  });

  it('is a name where a colon separates a version', () => {
    expect(parseReference('a:1.aci').kind).toBe('name');
  });

  it.each(['/srv/a', './a.tar', 'file:///srv/a'])('%s is refused without .aci', (text) => {
    expect(() => parseReference(text)).toThrow('ends in .aci');
  });
});

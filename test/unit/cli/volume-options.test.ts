import { describe, expect, it } from 'vitest';
import { parseMounts, parseVolumes } from '../../../src/cli/volume-options.ts';

describe('--volume', () => {
  it('is a directory or file of the host, as rkt has it', () => {
    const words = [
      'data,kind=host,source=/srv/data',
      'more,source=/m,kind=host,readOnly=true,recursive=0,propagation=slave',
    ];
    expect(parseVolumes(words)).toEqual([
      { name: 'data', kind: 'host', source: '/srv/data', readOnly: false },
      {
        name: 'more',
        kind: 'host',
        source: '/m',
        readOnly: true,
        recursive: false,
        propagation: 'slave',
      },
    ]);
  });

  it('is a directory of the pod, with owner and mode', () => {
    expect(parseVolumes(['a,kind=empty', 'b,kind=empty,mode=0700,uid=7,gid=8,readOnly=T'])).toEqual(
      [
        { name: 'a', kind: 'empty', readOnly: false, mode: '0755', uid: 0, gid: 0 },
        { name: 'b', kind: 'empty', readOnly: true, mode: '0700', uid: 7, gid: 8 },
      ],
    );
  });

  it.each([
    ['', '--volume'],
    ['Data,kind=empty', '--volume'],
    ['a', '--volume a: kind=host or kind=empty must follow the name'],
    ['a,kind=tmpfs', '--volume a: kind must be host or empty, not "tmpfs"'],
    ['a,kind=host', '--volume a: source= is required'],
    ['a,kind=host,source=', '--volume a: source= is required'],
    ['a,kind=host,source=x', '--volume a: source must be an absolute path without "..", not "x"'],
    ['a,kind=host,source=/x/../y', '--volume a: source must be an absolute path'],
    ['a,kind=host,source=/x,readOnly=yes', '--volume a: readOnly must be true or false, not "yes"'],
    ['a,kind=host,source=/x,readonly=1', '--volume a: "readonly=1" is none of kind=, source=, '],
    ['a,kind=host,source=/x,source=/y', '--volume a: source is given twice'],
    ['a,kind=host,source=/x,mode=0755', '--volume a: "mode=0755" is none of'],
    ['a,kind=host,source=/x,propagation=both', 'must be private, slave, shared, not "both"'],
    ['a,kind=empty,source=/x', '--volume a: "source=/x" is none of kind=, readOnly=, '],
    ['a,kind=empty,mode=8', '--volume a: mode must be three or four octal digits, not "8"'],
    ['a,kind=empty,uid=-1', '--volume a: uid must be a number below 4294967295, not "-1"'],
    ['a,kind=empty,gid=4294967295', '--volume a: gid must be a number below 4294967295'],
    ['a,kind=empty,', '--volume a: "" is none of'],
  ])('refuses %j', (text, message) => {
    expect(() => parseVolumes([text])).toThrow(message);
  });

  it('has a name of its own', () => {
    expect(() => parseVolumes(['a,kind=empty', 'a,kind=host,source=/x'])).toThrow(
      '--volume a: two volumes have this name',
    );
  });
});

describe('--mount', () => {
  it('names a volume and where it goes', () => {
    expect(parseMounts(['volume=a,target=/x', 'target=/y,volume=b'])).toEqual([
      { volume: 'a', path: '/x' },
      { volume: 'b', path: '/y' },
    ]);
  });

  it.each([
    ['volume=a', '--mount "volume=a": target= is required'],
    ['target=/x', '--mount "target=/x": volume= is required'],
    ['volume=a,target=x', '--mount "volume=a,target=x": target must be an absolute path'],
    ['volume=a,target=/../x', 'target must be an absolute path without ".."'],
    ['volume=a,target=/x,readOnly=true', '"readOnly=true" is none of volume=, target='],
    ['a,/x', '"a" is none of volume=, target='],
  ])('refuses %j', (text, message) => {
    expect(() => parseMounts([text])).toThrow(message);
  });
});

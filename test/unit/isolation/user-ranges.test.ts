import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  allotUsers,
  releaseUsers,
  sweepUsers,
  type UserFiles,
} from '../../../src/isolation/user-ranges.ts';
import { LOCK, system } from '../../../src/system/binding.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const EVERYBODY = '         0          0 4294967295\n';
const FIRST = 0x80000;
const END = 0x70000000;

/** A data directory, and a host that says this of its users. */
function place(content: Partial<Record<'subuid' | 'subgid' | 'passwd' | 'group' | 'map', string>>) {
  const dataDir = temporaryDirectory();
  const file = (name: keyof typeof content, text = '') => {
    writeFileSync(join(dataDir, name), content[name] ?? text);
    return join(dataDir, name);
  };
  const host: UserFiles = {
    subordinate: [file('subuid'), file('subgid')],
    accounts: [file('passwd'), file('group')],
    maps: [file('map', EVERYBODY), join(dataDir, 'map')],
    locks: dataDir,
    containers: join(dataDir, 'containers'),
  };
  return { dataDir, host };
}

/** Of the whole range all but the 65,536 users from `first` on, as a file of subordinate users has them. */
function allBut(first: number): string {
  const end = first + 65_536;
  return `# ours\nalice:${FIRST}:${first - FIRST}\nbob : ${end} : ${END - end}\nnonsense\nc:x:y\n`;
}

const free = FIRST + 7 * 65_536;

describe('the users allotted to a pod', () => {
  it.each(['subuid', 'subgid'] as const)('are none of those in %s', (name) => {
    const { dataDir, host } = place({ [name]: allBut(free) });
    expect(allotUsers(dataDir, 'a', host)).toEqual({ first: free, count: 65_536 });
  });

  it.each(['passwd', 'group'] as const)('have no account in %s among them', (name) => {
    const { dataDir, host } = place({
      subuid: allBut(free),
      [name]: `root:x:0:0\nodd:x:${free + 1000}:0\n`,
    });
    expect(() => allotUsers(dataDir, 'a', host)).toThrow(/no range of 65536 users is left/);
  });

  it('are none that systemd-nspawn has given a container', () => {
    const { dataDir, host } = place({ subuid: allBut(free) });
    mkdirSync(host.containers);
    writeFileSync(join(host.containers, String(free)), '');
    expect(() => allotUsers(dataDir, 'a', host)).toThrow(/no range/);
  });

  it('are none that a pod of another data directory runs with', () => {
    const { dataDir, host } = place({ subuid: allBut(free) });
    const lock = openSync(join(dataDir, String(free)), 'w');
    system.flock(lock, LOCK.exclusive);
    expect(() => allotUsers(dataDir, 'a', host)).toThrow(/no range/);
    closeSync(lock);
    expect(allotUsers(dataDir, 'a', host).first).toBe(free);
  });

  it('are there in the container Gantry itself runs in', () => {
    const { dataDir, host } = place({ map: `0 100000 65536\n${free} 900000 70000\n` });
    expect(allotUsers(dataDir, 'a', host).first).toBe(free);
    expect(() => allotUsers(dataDir, 'b', host)).toThrow(/no range/);
  });

  it('are no other pod’s until that is gone, and then may be again', () => {
    const { dataDir, host } = place({ subuid: allBut(free) });
    const range = allotUsers(dataDir, 'a', host);
    expect(readFileSync(join(dataDir, 'users', String(free)), 'utf8')).toBe('a\n');
    expect(() => allotUsers(dataDir, 'b', host)).toThrow(
      '--private-users: no range of 65536 users is left from 524288 to 1879048191: remove pods with gantry gc, or look at /etc/subuid and /etc/subgid',
    );
    // Not by one who does not have them.
    releaseUsers(dataDir, 'b', range);
    expect(() => allotUsers(dataDir, 'b', host)).toThrow(/no range/);
    releaseUsers(dataDir, 'a', range);
    expect(allotUsers(dataDir, 'b', host)).toEqual(range);
  });

  it('are anywhere in the range that systemd sets apart for containers', () => {
    const { dataDir, host } = place({});
    const given = Array.from({ length: 50 }, (_, index) => allotUsers(dataDir, `${index}`, host));
    expect(new Set(given.map(({ first }) => first)).size).toBe(50);
    for (const { first } of given) {
      expect(first % 65_536).toBe(0);
      expect(first).toBeGreaterThanOrEqual(FIRST);
      expect(first).toBeLessThan(END);
    }
  });

  it('are taken back from pods that are gone, and where a crash left no name', () => {
    const { dataDir, host } = place({});
    const { first } = allotUsers(dataDir, 'here', host);
    allotUsers(dataDir, 'gone', host);
    writeFileSync(join(dataDir, 'users/1'), '');
    sweepUsers(dataDir, (uuid) => uuid === 'here');
    expect(readdirSync(join(dataDir, 'users'))).toEqual([String(first)]);
  });

  it('are refused where no account of them can be kept', () => {
    const { dataDir, host } = place({});
    writeFileSync(join(dataDir, 'users'), '');
    expect(() => allotUsers(dataDir, 'a', host)).toThrow(
      /cannot keep account of users in .*users: /,
    );
  });
});

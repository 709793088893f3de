import { describe, expect, it } from 'vitest';
import { APP_OPTIONS, type AppWords, parseApps } from '../../../src/cli/apps.ts';
import { flag, repeated } from '../../../src/cli/command.ts';
import { buildCommand } from '../../../src/cli/parser.ts';

function parse(...words: string[]): { apps: AppWords[]; options: Record<string, unknown> } {
  const definition = {
    name: 'run',
    summary: 'test',
    options: [
      flag('--interactive', ''),
      flag('--no-overlay', ''),
      repeated('--set-env <NAME=VALUE>', ''),
      ...APP_OPTIONS,
    ],
    run: () => 0,
  };
  const command = buildCommand(definition);
  const apps = parseApps(command, words, true);
  return { apps, options: command.opts() };
}

describe('images and their options', () => {
  it('takes options of the pod before, between and after images', () => {
    const { apps, options } = parse('--set-env=A=1', 'a', '--interactive', 'b', '--set-env', 'B=2');
    expect(apps.map((app) => app.image)).toEqual(['a', 'b']);
    expect(options).toMatchObject({ interactive: true, setEnv: ['A=1', 'B=2'] });
  });

  it('gives an option to the image before it', () => {
    const { apps } = parse('a', '--exec=/x', '--name', 'one', 'b', '--exec', '/y');
    expect(apps).toEqual([
      { image: 'a', args: [], options: { exec: '/x', name: 'one' } },
      { image: 'b', args: [], options: { exec: '/y' } },
    ]);
  });

  it('gives all words from -- to --- to the app as they are', () => {
    const { apps } = parse('a', '--', '--greet', '--', '-x', '---', 'b', '--', '--interactive');
    expect(apps.map((app) => app.args)).toEqual([['--greet', '--', '-x'], ['--interactive']]);
  });

  it('keeps an empty argument of an app', () => {
    expect(parse('a', '--', '', 'x').apps[0]?.args).toEqual(['', 'x']);
  });

  it('collects several --environment of one image', () => {
    const { apps } = parse('a', '--environment=A=1', '--environment=B=2');
    expect(apps[0]?.options).toEqual({ environment: ['A=1', 'B=2'] });
  });

  it('accepts --flag=false', () => {
    expect(parse('a', '--interactive=false').options['interactive']).toBe(false);
  });

  it.each([
    ['--no-overlay', false],
    ['--no-overlay=true', false],
    ['--no-overlay=false', true],
  ])('accepts %s', (word, overlay) => {
    expect(parse(word, 'a').options['overlay']).toBe(overlay);
  });

  it('accepts a flag of an app as true, and as false none', () => {
    const [one, other] = parse('a', '--no-new-privileges=true', 'b', '--no-new-privileges=0').apps;
    expect([one?.options, other?.options]).toEqual([{ newPrivileges: true }, {}]);
  });
});

describe('words that make no sense', () => {
  const refused = (message: RegExp, ...words: string[]) =>
    expect(() => parse(...words)).toThrow(message);

  it('refuses an app option before any image', () =>
    refused(/--exec must follow an image/, '--exec=/x', 'a'));
  it('refuses an app option given twice for one image', () =>
    refused(/--exec specified multiple times/, 'a', '--exec=/x', '--exec=/y'));
  it('refuses arguments before any image', () =>
    refused(/image is required before any app arguments/, '--', 'x'));
  it('refuses a second set of arguments for one image', () =>
    refused(/only one set of app arguments/, 'a', '--', 'x', '---', '--', 'y'));
  it('refuses an option nobody knows', () => refused(/unknown option/, 'a', '--nonsense'));
});

describe('--mount', () => {
  it('is of the image before it, or of the pod before the first', () => {
    const { apps, options } = parse(
      '--mount=p',
      'a',
      '--mount',
      'q',
      '--mount=r',
      'b',
      '--mount=s',
    );
    expect(apps.map((app) => app.options['mount'])).toEqual([['q', 'r'], ['s']]);
    expect(options['mount']).toEqual(['p', 'q', 'r', 's']);
  });
});

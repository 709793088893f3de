import { GantryError } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import type { ImageWishes } from '../image/oci-assembly.ts';
import { ociPlatform } from '../image/platform.ts';
import { quote } from '../image/quotation.ts';
import { type CliOption, repeated, valued } from './command.ts';
import { platformOf } from './platform-options.ts';

/** What a new image's configuration is made of, beside its platform. */
export const IMAGE_OPTIONS: readonly CliOption[] = [
  valued(
    '--entrypoint <WORDS>',
    'the program and its first arguments: words, or a JSON array of them',
  ),
  valued('--cmd <WORDS>', 'the arguments that a run may replace: words, or a JSON array of them'),
  repeated('--env <NAME=VALUE>', 'an environment variable; may be repeated'),
  valued(
    '--user <USER>',
    'whom the program runs as, USER or USER:GROUP: names of the image, or numbers',
  ),
  valued('--working-dir <PATH>', 'where the program starts'),
  repeated('--port <PORT>', 'a port the program listens on, such as 8080/tcp; may be repeated'),
  repeated('--volume <PATH>', 'a directory for data that outlives the image; may be repeated'),
  repeated('--label <NAME=VALUE>', 'a label; may be repeated'),
  valued('--stop-signal <SIGNAL>', 'what ends the program: a name such as SIGTERM, or a number'),
  valued(
    '--created <TIME>',
    'when the image was made (RFC 3339); without it the image does not say',
  ),
];

/** Reads the options above. Throws `usage` naming the option. */
export function parseWishes(options: Record<string, unknown>): ImageWishes {
  const { entrypoint, cmd, user, workingDir, stopSignal, created } = options as Record<
    string,
    string | undefined
  >;
  const environment = pairs('--env', options['env']);
  return {
    platform: platformOf(options) ?? ociPlatform(new Map()),
    entrypoint: words('--entrypoint', entrypoint),
    cmd: words('--cmd', cmd),
    environment: [...environment].map(([name, value]) => `${name}=${value}`),
    user: matching('--user', user, /^[^:\s]+(:[^:\s]+)?$/, 'a user, perhaps ":" and a group'),
    workingDirectory: path('--working-dir', workingDir),
    ports: many(options['port']).map((text) => port(text)),
    volumes: many(options['volume']).map((text) => path('--volume', text)),
    labels: pairs('--label', options['label']),
    stopSignal: matching(
      '--stop-signal',
      stopSignal,
      /^(SIG[A-Z0-9]+([+-]\d+)?|\d{1,2})$/,
      'a signal such as SIGTERM, or its number',
    ),
    created: time(created),
  };
}

/** `["/bin/app", "-x"]`, or `/bin/app -x`, which is split at the spaces and nothing else. */
function words(option: string, text: string | undefined): string[] | undefined {
  if (text === undefined) return undefined;
  const found = text.startsWith('[')
    ? parseDocument(Buffer.from(text), { what: option, code: 'usage' }).strings()
    : text.split(' ').filter((word) => word !== '');
  if (found.some((word) => word.includes('\0'))) throw refuse(option, text, 'text without a NUL');
  return found;
}

function pairs(option: string, value: unknown): Map<string, string> {
  return new Map(
    many(value).map((text): [string, string] => {
      const equals = text.indexOf('=');
      if (equals < 1) throw refuse(option, text, 'NAME=VALUE');
      return [text.slice(0, equals), text.slice(equals + 1)];
    }),
  );
}

/** `8080` as well, as docker has it; the protocol is then TCP. */
function port(text: string): string {
  const [, first = '', last = first, protocol = 'tcp'] =
    /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  const [low, high] = [Number(first), Number(last)];
  if (first === '' || low < 1 || high > 65_535 || high < low) {
    throw refuse('--port', text, 'a port or a range of them, perhaps with /tcp, /udp or /sctp');
  }
  return `${low}${high === low ? '' : `-${high}`}/${protocol}`;
}

function path<Text extends string | undefined>(option: string, text: Text): Text {
  if (text === undefined) return text;
  if (!text.startsWith('/') || text.includes('\0') || text.split('/').includes('..')) {
    throw refuse(option, text, 'an absolute path without ".."');
  }
  return text;
}

function time(text: string | undefined): string | undefined {
  const expected = 'a time such as 2026-01-31T12:00:00Z';
  const shape = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
  const given = matching('--created', text, shape, expected);
  if (given !== undefined && Number.isNaN(Date.parse(given)))
    throw refuse('--created', given, expected);
  return given;
}

function matching(
  option: string,
  text: string | undefined,
  pattern: RegExp,
  expected: string,
): string | undefined {
  if (text !== undefined && !pattern.test(text)) throw refuse(option, text, expected);
  return text;
}

function many(value: unknown): string[] {
  return (value as string[] | undefined) ?? [];
}

function refuse(option: string, text: string, expected: string): GantryError {
  return new GantryError('usage', `${option}: ${quote(text)} is not ${expected}`);
}

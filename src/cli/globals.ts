import { type CliOption, flag, valued } from './command.ts';

/** The words of `--insecure-options`; config/insecure.ts says what each is. */
const INSECURE =
  'none http image tls pubkey capabilities paths seccomp all-fetch all-run all'.split(' ');

/** The options every command takes, before or after its name. */
export function globalOptions(): CliOption[] {
  return [
    flag('--debug', 'print the chain of causes and where images come from'),
    valued(
      '--dir <DIR>',
      'data directory (default: /var/lib/gantry, of an ordinary user ~/.local/share/gantry, or what paths.d says)',
    ),
    {
      ...valued(
        '--insecure-options <LIST>',
        `comma-separated security features to turn off: ${INSECURE.join(', ')}`,
      ),
      values: INSECURE,
    },
    valued('--local-config <DIR>', "the administrator's configuration (default: /etc/gantry)"),
    valued('--system-config <DIR>', "the vendor's configuration (default: /usr/lib/gantry)"),
    valued(
      '--user-config <DIR>',
      'a configuration of your own, over both others (default: none, of an ordinary user ~/.config/gantry)',
    ),
    flag('--trust-keys-from-https', 'trust keys found by discovery over HTTPS without asking'),
  ];
}

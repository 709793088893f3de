import { arch, platform } from 'node:process';
import packageJson from '../../package.json' with { type: 'json' };
import type { CommandDefinition } from './command.ts';
import { print } from './print.ts';

/** The version of the App Container specification that is implemented. */
const APPC_VERSION = '0.8.11';

export const definition: CommandDefinition = {
  name: 'version',
  summary: 'print the versions of Gantry, the App Container specification and Node.js',
  run() {
    print(
      [
        `gantry Version: ${packageJson.version}`,
        `appc Version: ${APPC_VERSION}`,
        `Node Version: ${process.version.slice(1)}`,
        `Node OS/Arch: ${platform}/${arch}`,
        '',
      ].join('\n'),
    );
    return 0;
  },
};

import { enableCompileCache } from 'node:module';
import { fileURLToPath } from 'node:url';

// Before anything else is loaded, so that all of it comes from the cache the build has warmed. The
// cache lies inside the installation, where only its owner can write: its content is executed.
enableCompileCache({
  directory: fileURLToPath(new URL('./compile-cache', import.meta.url)),
  portable: true,
});

import('./program.ts').then(async ({ main }) => {
  // Everything was written synchronously, so nothing is lost; taking Node down in good order takes ms.
  process.exit(await main(process.argv.slice(2)));
});

// npm run build: compiles src, test and scripts into dist/.
import { setUp } from './set-up.mjs';

setUp();

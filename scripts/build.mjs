// npm run build: checks the types of src, test and scripts, and compiles them into dist/.
import { checkTypes, setUp } from './set-up.mjs';

await setUp();
await checkTypes();

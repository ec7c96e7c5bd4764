import { file } from './file.ts';
import { lines } from './lines.ts';
import { sysctl } from './sysctl.ts';

/** Every kind of fact that a rule can be about. Add yours here. */
export const primitives = [file, sysctl, lines] as const;

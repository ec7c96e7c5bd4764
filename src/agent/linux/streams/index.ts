import { connections } from './connections.ts';
import type { SourceDeclaration } from './event-source.ts';
import { exits } from './exits.ts';
import { logins } from './logins.ts';
import { starts } from './starts.ts';

/** Every source of events of this system, in the order in which they take what a feed reports. Add yours here. */
export const SOURCES: readonly SourceDeclaration[] = [exits, starts, connections, logins];

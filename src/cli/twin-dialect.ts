import { collectors } from '../collectors/index.ts';
import type { Dialect } from '../config/dialect.ts';
import { publishedObject } from '../config/published-object.ts';
import { settingRows } from '../contract/settings.ts';

/** How this agent's module twin writes settings. @param objectName as the local file has it; absent: the default */
export const twinDialect = (objectName?: string): Dialect => publishedObject(settingRows(collectors), objectName);

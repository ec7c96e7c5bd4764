import { collectors } from '../collectors/index.ts';
import type { Dialect } from '../config/dialect.ts';
import { publishedObject } from '../config/published-object.ts';
import { settingRows } from '../contract/settings.ts';

/** The dialect of the module twin. @param objectName `twinObjectName` of the local file; absent: its default */
export const twinDialect = (objectName?: string): Dialect => publishedObject(settingRows(collectors), objectName);

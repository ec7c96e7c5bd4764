import { settingRows } from '../../core/contract/settings.ts';
import type { Dialect } from '../../core/twin/dialect.ts';
import { publishedObject } from '../../core/twin/published-object.ts';
import { collectors } from '../collectors/index.ts';

/** The dialect of the module twin. @param objectName `twinObjectName` of the local file; absent: its default */
export const twinDialect = (objectName?: string): Dialect => publishedObject(settingRows(collectors), objectName);

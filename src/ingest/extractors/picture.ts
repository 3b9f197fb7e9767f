/** Pictures: the text that can be recognised in them. */
import { imageSize } from 'image-size';
import { cleanText, hasContent } from '../clean-text.ts';
import { ExtractError } from '../extract-error.ts';
import type { HeldExtractor } from '../extract-file.ts';
import { assertDecodable } from '../picture-size.ts';
import { createRecogniser } from '../recognition.ts';

export const extractPicture: HeldExtractor = async ({ path }, { onRecognising }) => {
  const bytes = await Bun.file(path).bytes();
  const { width, height } = sizeOf(bytes);
  assertDecodable(width, height);
  onRecognising();
  const text = cleanText(await recognised(bytes));
  if (!hasContent(text)) throw new ExtractError('empty', 'No text was recognised in the picture.');
  return { text, title: null, pages: [], headings: [] };
};

function sizeOf(bytes: Uint8Array): { width: number; height: number } {
  try {
    return imageSize(bytes);
  } catch (error) {
    throw new ExtractError('corrupt', 'The picture is damaged and cannot be read.', error);
  }
}

async function recognised(bytes: Uint8Array): Promise<string> {
  try {
    return await createRecogniser()(bytes);
  } catch (error) {
    if (error instanceof ExtractError || error instanceof RangeError) throw error;
    throw new ExtractError('corrupt', 'The picture is damaged and cannot be read.', error);
  }
}

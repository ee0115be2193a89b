"""Parquet files as pyarrow 26 writes them: python make.py, in this folder. Eleven rows; the tests say what is in them."""
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 11
kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def picture(n):
    """Not a picture, but bytes of growing length that begin alike. Row 3 is null, row 7 has a path alone."""
    if n == 3:
        return None
    return {"bytes": None if n == 7 else b"picture " + bytes([n]) * n, "path": f"{n}.png"}


images = pa.array([picture(n) for n in range(ROWS)], kind)
labels = [None if n == 5 else n % 3 for n in range(ROWS)]


def write(name, label=pa.array(labels, pa.int64()), image=images, metadata=None, **options):
    table = pa.table({"image": image, "label": label})
    pq.write_table(table.replace_schema_metadata(metadata), name + ".parquet", row_group_size=6, **options)


for codec in ("none", "snappy", "gzip", "brotli", "zstd", "lz4"):
    write(codec, compression=codec)
    write(codec + "-v2", compression=codec, data_page_version="2.0", use_dictionary=False)
plain = dict(use_dictionary=False, compression="none")
write("delta", column_encoding={"image.bytes": "DELTA_BYTE_ARRAY", "image.path": "DELTA_LENGTH_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED"}, **plain)
write("delta-length-v2", column_encoding={"image.bytes": "DELTA_LENGTH_BYTE_ARRAY", "label": "DELTA_BINARY_PACKED"}, data_page_version="2.0", use_dictionary=False, compression="zstd")
write("split", pa.array(labels, pa.int32()), column_encoding={"image.bytes": "PLAIN", "label": "BYTE_STREAM_SPLIT"}, **plain)
write("small-pages", data_page_size=1, write_batch_size=2, compression="snappy")
for name in ("int8", "uint8", "int16", "uint32", "uint64", "float32", "float64"):
    write(name, pa.array(labels, getattr(pa, name)()))
write("bool", pa.array([None if n == 5 else n % 2 == 1 for n in range(ROWS)]), data_page_version="2.0")
words = pa.array([None if n == 5 else ("tabby cat", "dog", "owl")[n % 3] for n in range(ROWS)])
write("words", words)
write("dictionary", words.dictionary_encode())
features = '{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog", "owl", "emu"], "_type": "ClassLabel"}}}}'
write("named", metadata={"huggingface": features})
write("binary", image=pa.array([None if row is None else row["bytes"] for row in images.to_pylist()], pa.binary()))
write("large", image=pa.array([None if row is None else row["bytes"] for row in images.to_pylist()], pa.large_binary()))
write("lists", pa.array([[n] for n in range(ROWS)], pa.list_(pa.int64())))
pq.write_table(pa.table({"image": images, "label": pa.array(labels, pa.int64())}).slice(0, 0), "empty.parquet")

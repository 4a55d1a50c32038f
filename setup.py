"""Distribution metadata. Exact versions live in requirements.lock; these are the ranges we support."""

from pathlib import Path

from setuptools import find_packages, setup

CLIENT = ["grpcio>=1.76,<2", "protobuf>=6.31,<8", "numpy>=2.0,<3"]
TENSORFLOW = ["tensorflow>=2.21,<2.22", "keras>=3.15,<3.16"]
TRAIN = [
    *TENSORFLOW,
    "filelock>=3.12,<5",
    "imagehash>=4.3,<5",
    "importlib-resources>=6,<8",  # tensorflow-datasets 4.9 imports it without asking for it
    "jinja2>=3.1,<4",
    "joblib>=1.4,<2",
    "kagglehub>=0.3,<2",
    "keras-cv>=0.9,<0.10",
    "keras-hub>=0.32,<0.33",
    "matplotlib>=3.9,<4",
    "pandas>=2.2,<4",
    "pillow>=11,<13",
    "plotly>=7,<8",
    "pyarrow>=17,<27",
    "pydantic>=2.10,<3",
    "pyyaml>=6,<7",
    "scikit-learn>=1.6,<2",
    "scipy>=1.13,<2",
    "setuptools>=75,<81",  # tensorflow-hub imports pkg_resources, which setuptools 81 removed
    "tensorboard>=2.19,<3",
    "tensorflow-datasets>=4.9.7,<5",
    "tensorflow-hub>=0.16.1,<0.17",
    "tf-keras>=2.21,<2.22",
    "threadpoolctl>=3.5,<4",
    "tqdm>=4.66,<5",
]
SERVER = [
    *TENSORFLOW,
    "aiohttp>=3.10,<4",
    "grpcio-health-checking>=1.76,<2",
    "tensorflow-serving-api>=2.19,<2.22",
]
EXPORT = [*TRAIN, "tensorflow-serving-api>=2.19,<2.22"]
WEB = [
    "anyio>=4.9,<5",
    "pillow>=11,<13",
    "pyarrow>=17,<27",
    "python-multipart>=0.0.20,<0.1",
    "starlette>=1,<2",
    "uvicorn>=0.34,<1",
]
OTEL = ["opentelemetry-api>=1.30,<2"]
BENCHMARKS = ["faiss-cpu>=1.9,<2", "onnxruntime>=1.20,<2", "openvino>=2025,<2027", "tf2onnx>=1.16,<2"]
GPU = ["tensorflow[and-cuda]>=2.21,<2.22"]
DEV = [
    "httpx2>=2,<3",
    "mypy>=1.13,<3",
    "opentelemetry-sdk>=1.30,<2",
    "pandas-stubs",
    "playwright>=1.49,<2",
    "pre-commit>=4,<5",
    "pytest>=8.3,<10",
    "pytest-timeout>=2.3,<3",
    "ruff>=0.8,<1",
    "types-PyYAML",
    "types-tqdm",
]

setup(
    name="shoppin",
    version="0.1.0",
    description="Fashion reverse image search: train embeddings with Keras, serve them with TensorFlow Serving.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["trainer", "trainer.*", "export", "export.*", "serving", "serving.*"]),
    package_data={"serving": ["py.typed", "web/page/*"], "trainer": ["report/page/*"]},
    install_requires=CLIENT,
    extras_require={
        "train": TRAIN,
        "export": EXPORT,
        "server": SERVER,
        "gpu": GPU,
        "otel": OTEL,
        "web": WEB,
        "show": ["pillow>=11,<13", "pyarrow>=17,<27"],
        "benchmarks": BENCHMARKS,
        "dev": DEV,
        "all": sorted({*EXPORT, *SERVER, *WEB, *OTEL, *DEV}),
    },
)

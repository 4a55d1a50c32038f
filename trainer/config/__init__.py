"""The configuration of a run: typed, frozen, and strict about what it does not know. Imports nothing heavy."""

from __future__ import annotations

from trainer.config.data import (
    CsvConfig,
    DataConfig,
    DemoConfig,
    NearDuplicatesConfig,
    SampleConfig,
    SelectionConfig,
    SplitsConfig,
    TfdsConfig,
)
from trainer.config.file import as_yaml, load_config, load_section
from trainer.config.model import ClipConfig, FusedConfig, HubVitConfig, ModelConfig, ModelName, ResNet50Config
from trainer.config.run import Config, EvaluateConfig
from trainer.config.section import Section
from trainer.config.training import AugmentationConfig, StageConfig, TrainConfig
from trainer.config.words import WordsConfig, WordsStageConfig
from trainer.config.words_evaluation import WordsEvaluateConfig

__all__ = [
    "AugmentationConfig",
    "ClipConfig",
    "Config",
    "CsvConfig",
    "DataConfig",
    "DemoConfig",
    "EvaluateConfig",
    "FusedConfig",
    "HubVitConfig",
    "ModelConfig",
    "ModelName",
    "NearDuplicatesConfig",
    "ResNet50Config",
    "SampleConfig",
    "Section",
    "SelectionConfig",
    "SplitsConfig",
    "StageConfig",
    "TfdsConfig",
    "TrainConfig",
    "WordsConfig",
    "WordsEvaluateConfig",
    "WordsStageConfig",
    "as_yaml",
    "load_config",
    "load_section",
]

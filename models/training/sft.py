"""SFT with TRL: 2 epochs, batch 128, rate 2e-5 (paper, App. C). One clip a forward pass, the batch by accumulation.

usage: python sft.py CHECKPOINT ROWS.jsonl OUT [--steps N] [--batch 128] [--rate 2e-5] [--epochs 2] [--device cuda]
On several GPUs: accelerate launch --num_processes 8 sft.py …; for the 7B model on 8 x 80 GB add a DeepSpeed ZeRO-3 config, or use ms-swift.
"""
import argparse

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

import omni


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('checkpoint'), parser.add_argument('rows'), parser.add_argument('out')
    parser.add_argument('--steps', type=int, default=-1), parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--rate', type=float, default=2e-5), parser.add_argument('--epochs', type=float, default=2)
    parser.add_argument('--device', default='cuda')
    options = parser.parse_args()
    cpu = options.device == 'cpu'
    dtype = torch.float32 if cpu else torch.bfloat16
    model, processor = omni.load(options.checkpoint, options.device, dtype)
    rows = omni.rows_of(options.rows)

    def collate(batch):
        assert len(batch) == 1, 'clips have different lengths: one a forward pass'
        return omni.on(omni.inputs_of(rows[batch[0]['row']], processor, told=True), 'cpu', dtype)

    config = SFTConfig(output_dir=options.out, max_steps=options.steps, num_train_epochs=options.epochs, per_device_train_batch_size=1,
                       gradient_accumulation_steps=options.batch, learning_rate=options.rate, lr_scheduler_type='cosine', warmup_steps=0,
                       bf16=not cpu, use_cpu=cpu, gradient_checkpointing=not cpu, logging_steps=1, save_strategy='no', report_to=[],
                       remove_unused_columns=False, loss_type='nll', dataset_kwargs={'skip_prepare_dataset': True}, max_length=None, seed=0)
    trainer = SFTTrainer(model=model, args=config, train_dataset=Dataset.from_list([dict(row=index) for index in range(len(rows))]),
                         data_collator=collate, processing_class=processor.tokenizer)
    trainer.train()
    omni.save(trainer.accelerator.unwrap_model(trainer.model), options.checkpoint, options.out)


if __name__ == '__main__':
    main()
